// One walk over the line, in and out of strings; whatever is not named there is copied.
#include "data/python_json.h"

#include <charconv>
#include <cmath>

namespace dure {
namespace {

class Rewriter {
 public:
  explicit Rewriter(std::string_view line) : line_(line) {}

  std::optional<std::string> run() {
    while (at_ < line_.size()) line_[at_] == '"' ? take_string() : take_outside();
    return changed_ ? std::optional(std::move(out_)) : std::nullopt;
  }

 private:
  void copy(size_t count) {
    out_ += line_.substr(at_, count);
    at_ = std::min(at_ + count, line_.size());
  }
  void put(std::string_view text, size_t count) {
    out_ += text;
    at_ += count;
    changed_ = true;
  }

  // Of the escape "\uXXXX" at `at`; nothing where there is none.
  std::optional<unsigned> escaped_unit(size_t at) const {
    if (at + 6 > line_.size() || line_[at] != '\\' || line_[at + 1] != 'u') return std::nullopt;
    unsigned unit = 0;
    const char* begin = line_.data() + at + 2;
    const auto read = std::from_chars(begin, begin + 4, unit, 16);
    return read.ptr == begin + 4 ? std::optional(unit) : std::nullopt;
  }

  void take_escape() {
    const std::optional<unsigned> unit = escaped_unit(at_);
    if (!unit || *unit < 0xD800 || *unit > 0xDFFF) return copy(2);
    const std::optional<unsigned> next = escaped_unit(at_ + 6);
    const bool pair = *unit < 0xDC00 && next && *next >= 0xDC00 && *next <= 0xDFFF;
    pair ? copy(12) : put("\\ufffd", 6);
  }

  void take_string() {
    copy(1);
    while (at_ < line_.size() && line_[at_] != '"') line_[at_] == '\\' ? take_escape() : copy(1);
    copy(1);
  }

  void take_number() {
    const size_t end = std::min(line_.find_first_not_of("+-.0123456789eE", at_), line_.size());
    const std::string_view text = line_.substr(at_, end - at_);
    double value = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
    if (read.ec == std::errc::result_out_of_range)  // Beyond a double, or nearer to 0 than one.
      return put("null", text.size());
    const bool whole = text.find_first_of(".eE") == std::string_view::npos;
    if (!whole || text.size() <= 18) return copy(text.size());
    put(std::string(text) + "e0", text.size());
  }

  void take_outside() {
    for (const std::string_view name : {"NaN", "Infinity", "-Infinity"}) {
      if (line_.substr(at_).starts_with(name)) return put("null", name.size());
    }
    const char c = line_[at_];
    c == '-' || (c >= '0' && c <= '9') ? take_number() : copy(1);
  }

  std::string_view line_;
  std::string out_;
  size_t at_ = 0;
  bool changed_ = false;
};

}  // namespace

std::optional<std::string> strict_json(std::string_view line) { return Rewriter(line).run(); }

}  // namespace dure
