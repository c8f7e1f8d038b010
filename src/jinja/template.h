// jinja/template.h: a Jinja template as Hugging Face models carry it: parsed once, rendered
// many times.
//
// Renders as transformers does (sandboxed, trim_blocks, lstrip_blocks, loop controls, {% generation
// %}). The subset is in docs/jinja.md. A rendering ends: steps, memory, output and depth are
// bounded (budget.h). Threads may share it.
#pragma once

#include <ctime>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "jinja/budget.h"

namespace dure::jinja {

struct RenderOptions {
  std::optional<std::tm> now;  // What strftime_now sees; the local time otherwise.
  Limits limits;
};

class Template {
 public:
  // `source` names the text in errors. Throws Error: kInvalidArgument for what is no template,
  // kUnsupported for what is outside the subset; both name the line and quote it.
  Template(std::string_view text, std::string source);
  ~Template();

  // `variables`: an object. Throws Error kInvalidArgument: what the template raised, or could not
  // do, and the line.
  std::string render(const Json& variables, const RenderOptions& options = {}) const;

 private:
  struct Parsed;
  [[noreturn]] void fail(const TemplateError& error, int line) const;
  std::string text_, source_;
  std::unique_ptr<Parsed> parsed_;
};

}  // namespace dure::jinja
