// suite/expression.h: templates of a task: text from the fields of a row, or a value of any kind.
//
// A text that is nothing but `{{ EXPRESSION }}` is a value: a list stays a list. Lists and objects
// are filled through to their leaves. Source of the language: docs/jinja.md. Not here: what a task
// does with them (task_items.h).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"

namespace dure {

namespace jinja {
class Template;
}

class Expression {
 public:
  // `where` names it in errors. Throws what jinja::Template throws.
  Expression(const Json& form, const std::string& where);
  ~Expression();
  Expression(Expression&&) noexcept;

  bool empty() const;  // of null or an empty text
  // Throws kInvalidArgument: what the template could not do with these variables.
  Json value(const Json& variables) const;
  std::string text(const Json& variables) const;  // numbers are written, null is empty

 private:
  struct Node;
  std::unique_ptr<Node> root_;
};

// The value as text: strings as they are, null empty, the rest as JSON.
std::string text_of_value(const Json& value);

}  // namespace dure
