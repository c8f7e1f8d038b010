#include "text/jinja/escape.h"

#include "text/jinja/python_string.h"

namespace dure::jinja {
namespace {

// Takes out what stands from `open` to `close`, as often as it is there.
std::string without(std::string text, std::string_view open, std::string_view close) {
  std::string out;
  size_t begin = 0;
  for (;;) {
    const size_t from = text.find(open, begin);
    const size_t to =
        from == std::string::npos ? from : text.find(close, from + (open == "<" ? 1 : 0));
    if (to == std::string::npos) return out += text.substr(begin);
    out += text.substr(begin, from - begin);
    begin = to + close.size();
  }
}

std::string resolve_entities(std::string_view text) {
  static constexpr std::pair<std::string_view, std::string_view> kEntities[] = {
      {"&amp;", "&"},   {"&lt;", "<"},  {"&gt;", ">"},         {"&#34;", "\""},
      {"&quot;", "\""}, {"&#39;", "'"}, {"&nbsp;", "\xC2\xA0"}};
  std::string out;
  for (size_t i = 0; i < text.size();) {
    bool found = false;
    for (const auto& [entity, meaning] : kEntities) {
      if (text[i] != '&' || !text.substr(i).starts_with(entity)) continue;
      out += meaning;
      i += entity.size();
      found = true;
      break;
    }
    if (!found) out += text[i++];
  }
  return out;
}

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string strip_tags(std::string_view text) {
  const std::string bare = without(without(std::string(text), "<!--", "-->"), "<", ">");
  std::string out;
  for (const std::string& word : split(bare, std::nullopt, -1))
    out += (out.empty() ? "" : " ") + word;
  return resolve_entities(out);
}

}  // namespace dure::jinja
