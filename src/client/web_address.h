// client/web_address.h: the address of a server as a person writes it: http://host:port/path.
//
// Not here: asking it (http_client.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dure {

struct WebAddress {
  bool tls = false;
  std::string host;  // an IPv6 address without its brackets
  int64_t port = 80;
  std::string path;  // "" or "/v1": no slash at its end

  std::string host_text() const;  // as a Host header has it
  std::string text() const;
};

bool is_web_address(std::string_view text);  // It begins with http:// or https://.
// Throws kInvalidArgument saying what is wrong with it.
WebAddress parse_web_address(std::string_view text);

}  // namespace dure
