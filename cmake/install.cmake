# What `cmake --install` brings: the program, its man page and bash completion (made from its own help when it is installed),
# recipes and docs.
include(GNUInstallDirs)
set(made ${CMAKE_BINARY_DIR}/manual)
install(TARGETS dure RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(CODE "execute_process(COMMAND \"${CMAKE_SOURCE_DIR}/tools/make_manual.sh\" \"$<TARGET_FILE:dure>\" \"${made}\" COMMAND_ERROR_IS_FATAL ANY)")
install(FILES ${made}/dure.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${made}/dure DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(DIRECTORY recipes DESTINATION ${CMAKE_INSTALL_DATADIR}/dure USE_SOURCE_PERMISSIONS)
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES README.md ARCHITECTURE.md LOG.md STYLE.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
