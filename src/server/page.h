// server/page.h: the web page: index.html at the root and its files below /page/, out of the
// program itself.
//
// Owns the headers: types, ETag, compression, and a policy under which the browser runs no script
// and loads nothing but these files, and makes no HTML of any text. Not here: the files
// (server/page/), their table (page_files.h), what they ask the server for (page_api.cc).
#pragma once

#include "server/http.h"

namespace dure {

// `name` without "/page/"; "index.html" is the root's. Status 404 where there is none, 304 where
// the browser has it.
HttpResponse page_file(const HttpRequest& request, std::string_view name);

}  // namespace dure
