// Parses once, renders with a Context of its own each time, and names the line of what fails.
#include "jinja/template.h"

#include "base/python_text.h"
#include "base/utf8.h"
#include "jinja/builtin.h"

namespace dure::jinja {
namespace {

constexpr size_t kTemplateBytesMax = size_t{4} << 20;

std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm out{};
  localtime_r(&now, &out);
  return out;
}

bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const char32_t code = next_code_point(text, i);
    if (code >= 0xDC80 && code < 0xDD00) return false;  // A stray byte.
  }
  return true;
}

// Line `number` of the text, shortened; lines end as the lexer has them (\n, \r\n, \r).
std::string line_of(std::string_view text, int number) {
  size_t begin = 0;
  for (int line = 1; line < number && begin < text.size(); ++line) {
    const size_t end = text.find_first_of("\r\n", begin);
    if (end == std::string_view::npos) return "";
    begin = end + (text[end] == '\r' && text.substr(end + 1).starts_with('\n') ? 2 : 1);
  }
  std::string_view line = text.substr(begin, text.find_first_of("\r\n", begin) - begin);
  line = python_strip(line);
  constexpr size_t kShown = 100;
  if (line.size() <= kShown) return std::string(line);
  return std::string(line.substr(0, utf8_start(line, kShown))) + "...";
}

}  // namespace

struct Template::Parsed {
  Block block;
};

Template::Template(std::string_view text, std::string source)
    : text_(text), source_(std::move(source)), parsed_(std::make_unique<Parsed>()) {
  if (text.size() > kTemplateBytesMax) {
    dure::fail(ErrorCode::kInvalidArgument, "{}: a template of {} bytes; at most {} are read",
               source_, text.size(), kTemplateBytesMax);
  }
  if (!is_utf8(text))
    dure::fail(ErrorCode::kInvalidArgument, "{}: a template that is not UTF-8", source_);
  try {
    parsed_->block = parse_template(text_);
  } catch (const TemplateError& error) {
    fail(error, error.line());
  }
}

Template::~Template() = default;

void Template::fail(const TemplateError& error, int line) const {
  const std::string shown = line_of(text_, line);
  dure::fail(error.code(), "{}: line {}: {}{}", source_, line, error.message(),
             shown.empty() ? "" : " (in: " + shown + ")");
}

std::string Template::render(const Json& variables, const RenderOptions& options) const {
  Context context(options.limits, options.now.has_value() ? *options.now : local_time());
  try {
    set_globals(context.scope());
    for (const auto& [name, value] : variables.as_object("template variables"))
      context.scope().set(name, Value::from_json(value));
    context.run_block(parsed_->block);
    return context.take_output();
  } catch (const TemplateError& error) {
    fail(error, context.line());
  }
}

}  // namespace dure::jinja
