# Numbers and messages do not depend on the environment.
tool=$BIN/inspect
env -i "$tool" --threads=1.5 x 2>plain && exit 1
LC_ALL=de_DE.UTF-8 LANGUAGE=de TERM=dumb "$tool" --threads=1.5 x 2>german && exit 1
cmp plain german
env -i "$tool" --help >a
LC_ALL=tr_TR.UTF-8 COLUMNS=20 HOME='' "$tool" --help >b
cmp a b
