# cmake -DINPUT=file -DOUTPUT=file.cc -DSYMBOL=kName -P EmbedText.cmake: the bytes of a file as a std::string_view.
file(READ ${INPUT} hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
file(WRITE ${OUTPUT} "#include <string_view>\nnamespace quantfleet {\nstatic constexpr char kBytes[] = {${bytes}'\\0'};\nextern const std::string_view ${SYMBOL};\nconst std::string_view ${SYMBOL}(kBytes, sizeof(kBytes) - 1);\n}  // namespace quantfleet\n")
