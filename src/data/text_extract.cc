// Plain text and Markdown, line by line, without a tree of its syntax. HTML is html_extract.cc's.
#include "data/text_extract.h"

#include <algorithm>
#include <cctype>

namespace dure {
namespace {

struct Line {
  std::string_view text;
  size_t next;  // Where the following line begins; npos at the end.
};

// A line ends at "\n", "\r\n", or "\r" alone.
Line line_at(std::string_view text, size_t start) {
  const size_t end = text.find_first_of("\r\n", start);
  if (end == std::string_view::npos) return {text.substr(start), end};
  const bool both = text.substr(end).starts_with("\r\n");
  return {text.substr(start, end - start), end + (both ? 2 : 1)};
}

std::string_view trim_right(std::string_view text) {
  const size_t last = text.find_last_not_of(" \t\r");
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

size_t indent_of(std::string_view line) {
  return std::min(line.find_first_not_of(' '), line.size());
}

// Drops <!-- ... --> wherever it stands.
std::string without_comments(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t open = text.find("<!--");
    out += text.substr(0, open);
    if (open == std::string_view::npos) break;
    const size_t close = text.find("-->", open + 4);
    text.remove_prefix(close == std::string_view::npos ? text.size() : close + 3);
  }
  return out;
}

// "[words](target)" to "words", "![words](target)" to nothing, from `at` on; false where it is
// neither.
bool take_link(std::string_view line, size_t& at, std::string& out) {
  const bool image = line[at] == '!';
  const size_t open = at + (image ? 1 : 0);
  if (open >= line.size() || line[open] != '[') return false;
  const size_t close = line.find("](", open);
  if (close == std::string_view::npos ||
      line.substr(open + 1, close - open - 1).find('[') != std::string_view::npos)
    return false;
  const size_t end = line.find(')', close);
  if (end == std::string_view::npos) return false;
  if (!image) out += line.substr(open + 1, close - open - 1);
  at = end + 1;
  return true;
}

// Marks inside a line: links, images, **strong**, __strong__, `code`. Single * and _ stay: they are
// often not marks.
std::string without_marks(std::string_view line) {
  std::string out;
  for (size_t i = 0; i < line.size();) {
    if ((line[i] == '[' || line[i] == '!') && take_link(line, i, out)) continue;
    if (line.substr(i).starts_with("**") || line.substr(i).starts_with("__")) {
      i += 2;
    } else if (line[i] == '`') {
      ++i;
    } else if (line[i] == '\\' && i + 1 < line.size() &&
               std::ispunct(static_cast<unsigned char>(line[i + 1]))) {
      out += line[i + 1];
      i += 2;
    } else {
      out += line[i++];
    }
  }
  return out;
}

bool is_rule(std::string_view line) {
  const std::string_view text = trim_right(line);
  if (text.size() < 3) return false;
  return text.find_first_not_of(text[0]) == std::string_view::npos &&
         std::string_view("-*_=").find(text[0]) != std::string_view::npos;
}

std::string_view after_front_matter(std::string_view text) {
  if (!text.starts_with("---\n")) return text;
  const size_t end = text.find("\n---\n", 3);
  return end == std::string_view::npos ? text : text.substr(end + 5);
}

// Outside code: heading and quote marks off, rules and link definitions dropped, "* item" as "-
// item".
void append_prose(std::string& out, std::string_view line) {
  if (is_rule(line)) return;
  const size_t indent = indent_of(line);
  std::string_view body = line.substr(indent);
  while (body.starts_with(">")) body.remove_prefix(body.starts_with("> ") ? 2 : 1);
  if (body.starts_with("#")) {
    const size_t level = std::min(body.find_first_not_of('#'), body.size());
    if (level <= 6 && (level == body.size() || body[level] == ' '))
      body.remove_prefix(std::min(level + 1, body.size()));
    while (body.ends_with("#")) body.remove_suffix(1);
  }
  if (body.starts_with("[") && body.find("]: ") != std::string_view::npos) return;
  const bool bullet = body.starts_with("* ") || body.starts_with("+ ");
  out += std::string(indent, ' ') +
         (bullet ? "- " + without_marks(body.substr(2)) : without_marks(body)) + "\n";
}

}  // namespace

std::string tidy_text(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::string out;
  int empty_lines = 2;  // At the start no empty line is wanted.
  for (size_t at = 0; at != std::string_view::npos;) {
    const Line line = line_at(text, at);
    const std::string_view body = trim_right(line.text);
    at = line.next;
    empty_lines = body.empty() ? empty_lines + 1 : 0;
    if (empty_lines <= 1) {
      out.append(body);
      out += '\n';
    }
  }
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

std::string text_of_markdown(std::string_view markdown) {
  const std::string tidy = tidy_text(markdown);
  const std::string plain = without_comments(after_front_matter(tidy));
  std::string out;
  std::string_view fence;
  for (size_t at = 0; at != std::string_view::npos;) {
    const Line line = line_at(plain, at);
    at = line.next;
    const std::string_view body = line.text.substr(indent_of(line.text));
    const std::string_view mark = body.starts_with("```")   ? "```"
                                  : body.starts_with("~~~") ? "~~~"
                                                            : "";
    if (!mark.empty() && (fence.empty() || fence == mark)) {
      fence = fence.empty() ? mark : "";
    } else if (!fence.empty()) {
      out.append(line.text);
      out += '\n';
    } else {
      append_prose(out, line.text);
    }
  }
  return tidy_text(out);
}

}  // namespace dure
