// One table. RFC 3339 for times, RFC 1123 for host names, RFC 4291 for addresses, RFC 3986 for
// URIs, each narrowed where a shorter form says the same.
#include "grammar/string_formats.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace dure {
namespace {

using Row = std::pair<std::string_view, std::string>;

std::string date() {
  const std::string year = "([0-9]{3}[1-9]|[0-9]{2}[1-9][0-9]|[0-9][1-9][0-9]{2}|[1-9][0-9]{3})";
  const std::string leap =
      "([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)";
  return "(" + year +
         "-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|" +
         "02-(0[1-9]|1[0-9]|2[0-8]))|" + leap + "-02-29)";
}

std::string time() {
  return "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?"
         "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
}

std::string duration() {
  const std::string clock = "T([0-9]+H([0-9]+M([0-9]+S)?)?|[0-9]+M([0-9]+S)?|[0-9]+S)";
  const std::string day = "[0-9]+D";
  const std::string calendar =
      "([0-9]+Y([0-9]+M(" + day + ")?)?|[0-9]+M(" + day + ")?|" + day + ")";
  return "P(" + calendar + "(" + clock + ")?|" + clock + "|[0-9]+W)";
}

std::string ipv4() {
  const std::string byte = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
  return byte + "(\\." + byte + "){3}";
}

std::string ipv6() {
  const std::string h = "[0-9a-fA-F]{1,4}";
  std::string out = "((" + h + ":){7}" + h + "|::|(" + h + ":){1,7}:";
  for (int tail = 1; tail <= 6; ++tail)
    out += "|(" + h + ":){1," + std::to_string(7 - tail) + "}(:" + h + "){" + std::to_string(tail) +
           "}";
  return out + "|:(:" + h + "){1,7})";
}

std::string hostname() {
  const std::string label = "[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?";
  return label + "(\\." + label + "){0,3}";
}

// A dotted name without the bound on its labels' length, which would be copied for each label.
std::string email() {
  const std::string atom = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+";
  const std::string label = "[a-zA-Z0-9]+(-+[a-zA-Z0-9]+)*";
  return atom + "(\\." + atom + ")*@" + label + "(\\." + label + ")*";
}

std::string uri() {
  const std::string c = "([a-zA-Z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})";
  const std::string authority = "([a-zA-Z0-9._~!$&'()*+,;=:-]+@)?[a-zA-Z0-9._~-]+(:[0-9]{1,5})?";
  const std::string rest = "(\\?(" + c + "|\\?)*)?(#(" + c + "|\\?)*)?";
  return "[a-zA-Z][a-zA-Z0-9+.-]*:(//" + authority + "(/" + c + "*)?|[a-zA-Z0-9._~@-]" + c + "*)" +
         rest;
}

const std::vector<Row>& table() {
  static const std::vector<Row> rows = {
      {"date", date()},
      {"time", time()},
      {"date-time", date() + "T" + time()},
      {"duration", duration()},
      {"uuid", "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"},
      {"email", email()},
      {"hostname", hostname()},
      {"ipv4", ipv4()},
      {"ipv6", ipv6()},
      {"uri", uri()},
      {"json-pointer", "(/([^~/]|~[01])*)*"},
  };
  return rows;
}

}  // namespace

std::optional<std::string> format_pattern(std::string_view format) {
  for (const Row& row : table())
    if (row.first == format) return row.second;
  return std::nullopt;
}

bool is_unwritten_format(std::string_view format) {
  static constexpr std::array<std::string_view, 9> kNames = {
      "idn-email",    "idn-hostname",          "uri-reference", "iri",   "iri-reference",
      "uri-template", "relative-json-pointer", "regex",         "semver"};
  return std::find(kNames.begin(), kNames.end(), format) != kNames.end();
}

std::string known_formats() {
  std::string out;
  for (const Row& row : table()) out += (out.empty() ? "" : ", ") + std::string(row.first);
  return out;
}

}  // namespace dure
