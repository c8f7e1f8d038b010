// A tree of the form's own shape with a template at every leaf that is a text.
#include "suite/expression.h"

#include <optional>

#include "base/error.h"
#include "jinja/template.h"

namespace dure {

struct Expression::Node {
  Json constant;                               // of what is no text
  std::unique_ptr<jinja::Template> template_;  // of a text
  bool typed = false;                          // the template writes JSON
  std::vector<std::pair<std::string, std::unique_ptr<Node>>> parts;
  Json::Kind kind = Json::Kind::kNull;
  std::string where;
};

namespace {

// What stands between the braces, where they are all there is.
std::optional<std::string> lone_expression(const std::string& text) {
  if (!text.starts_with("{{") || !text.ends_with("}}") || text.size() < 5) return std::nullopt;
  if (text.find("}}") != text.size() - 2 || text.find("{{", 2) != std::string::npos)
    return std::nullopt;
  return text.substr(2, text.size() - 4);
}

}  // namespace

namespace {

template <typename Node>
std::unique_ptr<Node> parse(const Json& form, const std::string& where) {
  auto node = std::make_unique<Node>();
  node->kind = form.kind();
  node->where = where;
  if (form.is_string()) {
    const std::optional<std::string> alone = lone_expression(form.as_string());
    node->typed = alone.has_value();
    const std::string text = alone ? "{{ (" + *alone + ") | tojson }}" : form.as_string();
    node->template_ = std::make_unique<jinja::Template>(text, where);
  } else if (form.is_array()) {
    for (const Json& item : form.as_array()) node->parts.emplace_back("", parse<Node>(item, where));
  } else if (form.is_object()) {
    for (const auto& [name, value] : form.as_object())
      node->parts.emplace_back(name, parse<Node>(value, where + ": " + name));
  } else {
    node->constant = form;
  }
  return node;
}

template <typename Node>
Json fill(const Node& node, const Json& variables) {
  if (node.template_ != nullptr) {
    const std::string text = node.template_->render(variables);
    return node.typed ? parse_json(text, node.where) : Json(text);
  }
  Json out = node.kind == Json::Kind::kArray    ? Json::array()
             : node.kind == Json::Kind::kObject ? Json::object()
                                                : node.constant;
  for (const auto& [name, part] : node.parts) {
    if (node.kind == Json::Kind::kArray) {
      out.push_back(fill(*part, variables));
    } else {
      out[name] = fill(*part, variables);
    }
  }
  return out;
}

}  // namespace

Expression::Expression(const Json& form, const std::string& where)
    : root_(parse<Node>(form, where)) {}
Expression::~Expression() = default;
Expression::Expression(Expression&&) noexcept = default;

bool Expression::empty() const {
  return root_->kind == Json::Kind::kNull && root_->constant.is_null();
}

Json Expression::value(const Json& variables) const { return fill(*root_, variables); }

std::string Expression::text(const Json& variables) const {
  return text_of_value(value(variables));
}

std::string text_of_value(const Json& value) {
  if (value.is_null()) return "";
  return value.is_string() ? value.as_string() : value.dump();
}

}  // namespace dure
