// server/page_files.h: the files of the web page, as they lie in the program.
//
// The table is made by cmake/page.cmake from src/server/page and Debian's marked and KaTeX. Not
// here: how they are answered (page.h).
#pragma once

#include <span>
#include <string_view>

namespace dure {

struct PageFile {
  std::string_view name;  // "chat.js", "fonts/KaTeX_Main-Regular.woff2"
  std::string_view type;  // Content-Type
  std::string_view tag;   // ETag, with its quotes
  bool packed;            // the bytes are gzip's
  std::string_view bytes;
};

std::span<const PageFile> page_files();

}  // namespace dure
