# Writes OUT, the table behind suite/shipped.h, of INPUTS: run by cmake/suites.cmake.
set(blobs "")
set(rows "")
set(count 0)
foreach(input ${INPUTS})
  get_filename_component(file ${input} NAME)
  get_filename_component(folder ${input} DIRECTORY)
  get_filename_component(kind ${folder} NAME)
  string(APPEND blobs "BLOB(suite_blob_${count}, \"${input}\")\n")
  string(APPEND rows "    {\"${kind}/${file}\", {suite_blob_${count}, suite_blob_${count}_end}},\n")
  math(EXPR count "${count} + 1")
endforeach()
file(WRITE ${OUT} "// Made by cmake/suite_table.cmake.
#include \"suite/shipped.h\"

#define BLOB(name, file)                                                          \\
  __asm__(\".section .rodata\\n.balign 16\\n\" #name \":\\n.incbin \\\"\" file \"\\\"\\n\" #name \"_end:\\n.byte 0\\n.text\\n\"); \\
  extern \"C\" const char name[];                                                  \\
  extern \"C\" const char name##_end[];

${blobs}
namespace dure {

std::span<const ShippedFile> shipped_files() {
  static const ShippedFile files[] = {
${rows}  };
  return files;
}

}  // namespace dure
")
