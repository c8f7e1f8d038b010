# Compresses INPUTS into OUT and writes OUT/page_files.cc, the table behind server/page_files.h: run by cmake/page.cmake.
file(MAKE_DIRECTORY ${OUT})
set(blobs "")
set(rows "")
set(count 0)
foreach(input ${INPUTS})
  get_filename_component(name ${input} NAME)
  get_filename_component(extension ${input} LAST_EXT)
  string(REPLACE "KaTeX_" "fonts/KaTeX_" name ${name})  # As katex.min.css asks for them.
  if(extension STREQUAL ".woff2")
    set(type "font/woff2")
    set(packed false)
    set(blob ${input})
  else()
    if(extension STREQUAL ".js")
      set(type "text/javascript; charset=utf-8")
    elseif(extension STREQUAL ".css")
      set(type "text/css; charset=utf-8")
    elseif(extension STREQUAL ".html")
      set(type "text/html; charset=utf-8")
    elseif(extension STREQUAL ".svg")
      set(type "image/svg+xml")
    else()
      message(FATAL_ERROR "${input}: a kind of file that the page's table does not know")
    endif()
    set(packed true)
    get_filename_component(file ${input} NAME)
    set(blob ${OUT}/${file}.gz)
    execute_process(COMMAND ${GZIP} -9nc ${input} OUTPUT_FILE ${blob} COMMAND_ERROR_IS_FATAL ANY)
  endif()
  file(SHA256 ${input} hash)
  string(SUBSTRING ${hash} 0 16 tag)
  string(APPEND blobs "BLOB(page_blob_${count}, \"${blob}\")\n")
  string(APPEND rows "    {\"${name}\", \"${type}\", \"\\\"${tag}\\\"\", ${packed}, {page_blob_${count}, page_blob_${count}_end}},\n")
  math(EXPR count "${count} + 1")
endforeach()
file(WRITE ${OUT}/page_files.cc "// Made by cmake/page_table.cmake.
#include \"server/page_files.h\"

#define BLOB(name, file)                                                          \\
  __asm__(\".section .rodata\\n.balign 16\\n\" #name \":\\n.incbin \\\"\" file \"\\\"\\n\" #name \"_end:\\n.byte 0\\n.text\\n\"); \\
  extern \"C\" const char name[];                                                  \\
  extern \"C\" const char name##_end[];

${blobs}
namespace dure {

std::span<const PageFile> page_files() {
  static const PageFile files[] = {
${rows}  };
  return files;
}

}  // namespace dure
")
