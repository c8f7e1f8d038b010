# The page of `dure serve`: every file of src/server/page, and Debian's marked and KaTeX, in the program itself (.incbin),
# text compressed. Packages: libjs-marked, libjs-katex (docs/dependencies.md).
set(page_js /usr/share/javascript CACHE PATH "Where Debian has JavaScript libraries")
find_program(GZIP gzip REQUIRED)
file(GLOB page_own CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/server/page/*)
set(page_libraries ${page_js}/marked/marked.umd.min.js ${page_js}/katex/katex.js ${page_js}/katex/katex.min.css)
file(GLOB page_fonts ${page_js}/katex/fonts/KaTeX_*.woff2)
list(LENGTH page_fonts page_font_count)
foreach(file ${page_libraries})
  if(NOT EXISTS ${file} OR page_font_count LESS 20)
    message(FATAL_ERROR "The page needs ${file} and KaTeX's fonts: apt-get install libjs-marked libjs-katex (./dev setup does)")
  endif()
endforeach()
set(page_made ${CMAKE_BINARY_DIR}/page)
set(page_table ${page_made}/page_files.cc)
set(page_inputs ${page_own} ${page_libraries} ${page_fonts})
add_custom_command(OUTPUT ${page_table} DEPENDS ${page_inputs} ${CMAKE_SOURCE_DIR}/cmake/page_table.cmake
  COMMAND ${CMAKE_COMMAND} "-DINPUTS=${page_inputs}" -DOUT=${page_made} -DGZIP=${GZIP} -P ${CMAKE_SOURCE_DIR}/cmake/page_table.cmake
  COMMENT "Page" VERBATIM)
target_sources(dure_server PRIVATE ${page_table})
