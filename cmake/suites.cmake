# Suites, tasks, tables of rivals and own items of `dure eval`, in the program itself (.incbin): the table of suite/shipped.h.
file(GLOB suite_inputs CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/suite/suites/*.yaml ${CMAKE_SOURCE_DIR}/src/suite/tasks/*.yaml
  ${CMAKE_SOURCE_DIR}/src/suite/rivals/*.yaml ${CMAKE_SOURCE_DIR}/src/suite/items/*.jsonl)
set(suite_table ${CMAKE_BINARY_DIR}/suite/shipped_files.cc)
add_custom_command(OUTPUT ${suite_table} DEPENDS ${suite_inputs} ${CMAKE_SOURCE_DIR}/cmake/suite_table.cmake
  COMMAND ${CMAKE_COMMAND} "-DINPUTS=${suite_inputs}" -DOUT=${suite_table} -P ${CMAKE_SOURCE_DIR}/cmake/suite_table.cmake
  COMMENT "Suites" VERBATIM)
target_sources(dure_suite PRIVATE ${suite_table})
