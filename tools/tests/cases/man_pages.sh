# The man pages name exactly the options of the programs, and mandoc has nothing to say about them.
command -v mandoc >/dev/null || { echo "mandoc is not installed"; exit 77; }
"$SRC/tools/tests/man_options.sh" "$BIN"
