# The man pages name exactly the options of the programs, and mandoc has nothing to say about them.
command -v mandoc >/dev/null || { echo "mandoc is not installed"; exit 77; }
compgen -G "$SRC/man/*.1" >/dev/null || { echo "there are no man pages yet"; exit 77; }
"$SRC/tools/tests/man_options.sh" "$BIN"
mandoc -T lint -W all "$SRC"/man/*.[1-8] >messages 2>/dev/null || true
[ ! -s messages ] || { cat messages; exit 1; }
