// Files are stored as browsers take them, in gzip; for those few who do not they are unpacked.
#include "server/page.h"

#include <zlib.h>

#include "base/check.h"
#include "server/page_files.h"

namespace dure {
namespace {

// Trusted types: the browser refuses to make HTML of a string, whichever script asks.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' "
    "data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

std::string unpacked(std::string_view bytes) {
  z_stream stream{};
  DURE_CHECK(inflateInit2(&stream, 15 + 16) == Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string out;
  char buffer[1 << 14];
  for (int code = Z_OK; code == Z_OK;) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer);
    stream.avail_out = sizeof(buffer);
    code = inflate(&stream, Z_NO_FLUSH);
    out.append(buffer, sizeof(buffer) - stream.avail_out);
  }
  inflateEnd(&stream);
  return out;
}

bool has(const HttpRequest& request, const char* header, std::string_view part) {
  const std::string* value = request.header(header);
  return value != nullptr && value->find(part) != std::string::npos;
}

}  // namespace

HttpResponse page_file(const HttpRequest& request, std::string_view name) {
  for (const PageFile& file : page_files()) {
    if (file.name != name) continue;
    HttpResponse out{.headers = {{"Content-Type", std::string(file.type)},
                                 {"ETag", std::string(file.tag)},
                                 {"Cache-Control", "no-cache"},
                                 {"Vary", "Accept-Encoding"},
                                 {"Content-Security-Policy", kPolicy},
                                 {"X-Content-Type-Options", "nosniff"},
                                 {"Referrer-Policy", "no-referrer"},
                                 {"Cross-Origin-Opener-Policy", "same-origin"},
                                 {"Cross-Origin-Resource-Policy", "same-origin"}}};
    if (has(request, "if-none-match", file.tag)) {
      out.status = 304;
      return out;
    }
    const bool packed = file.packed && has(request, "accept-encoding", "gzip");
    if (packed) out.headers.emplace_back("Content-Encoding", "gzip");
    out.body = file.packed && !packed ? unpacked(file.bytes) : std::string(file.bytes);
    return out;
  }
  return {.status = 404};
}

}  // namespace dure
