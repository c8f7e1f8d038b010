// Cut at the marks from left to right; nothing is decoded.
#include "client/web_address.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace dure {
namespace {

constexpr std::string_view kPlain = "http://", kSecure = "https://";

int64_t port_of(std::string_view text, std::string_view address) {
  int64_t port = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (ec != std::errc() || end != text.data() + text.size() || port < 1 || port > 65535)
    fail(ErrorCode::kInvalidArgument, "{}: '{}' is no port (1 to 65535)", address, text);
  return port;
}

// What stands before an '@' may be a password: it is not said again.
void check_host(const std::string& host, std::string_view place, std::string_view address) {
  const bool odd =
      std::any_of(host.begin(), host.end(), [](unsigned char c) { return c <= ' ' || c == 0x7f; });
  if (odd || place.find('@') != std::string_view::npos)
    fail(ErrorCode::kInvalidArgument,
         "the address has '@' or a space in its host: no user and no password stand in an address; "
         "a key comes from the environment (DURE_API_KEY)");
  if (host.empty()) fail(ErrorCode::kInvalidArgument, "{}: names no host", address);
}

}  // namespace

bool is_web_address(std::string_view text) {
  return text.starts_with(kPlain) || text.starts_with(kSecure);
}

WebAddress parse_web_address(std::string_view text) {
  if (!is_web_address(text))
    fail(ErrorCode::kInvalidArgument, "{}: begin an address with http:// or https://", text);
  WebAddress out;
  out.tls = text.starts_with(kSecure);
  out.port = out.tls ? 443 : 80;
  std::string_view rest = text.substr(out.tls ? kSecure.size() : kPlain.size());
  rest = rest.substr(0, rest.find_first_of("?#"));
  const size_t slash = rest.find('/');
  if (slash != std::string_view::npos) out.path = rest.substr(slash);
  while (out.path.ends_with('/')) out.path.pop_back();
  const std::string_view place = rest.substr(0, slash);
  const size_t bracket = place.find(']');
  const bool six = place.starts_with('[') && bracket != std::string_view::npos;
  const size_t colon = six ? place.find(':', bracket) : place.find(':');
  out.host = six ? place.substr(1, bracket - 1) : place.substr(0, colon);
  check_host(out.host, place, text);
  if (colon != std::string_view::npos) out.port = port_of(place.substr(colon + 1), text);
  return out;
}

std::string WebAddress::host_text() const {
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return port == (tls ? 443 : 80) ? name : fmt::format("{}:{}", name, port);
}

std::string WebAddress::text() const {
  return fmt::format("{}{}{}", tls ? kSecure : kPlain, host_text(), path);
}

}  // namespace dure
