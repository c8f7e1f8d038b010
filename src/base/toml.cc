// toml++ reads; its nodes become values.
#include "base/toml.h"

#include <fmt/core.h>
#include <toml++/toml.h>

#include <sstream>
#include <string>

#include "base/error.h"

namespace dure {
namespace {

Json value_of(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table: {
      Json out = Json::object();
      for (const auto& [key, below] : *node.as_table())
        out.as_object().emplace_back(std::string(key.str()), value_of(below));
      return out;
    }
    case toml::node_type::array: {
      Json out = Json::array();
      for (const toml::node& item : *node.as_array()) out.push_back(value_of(item));
      return out;
    }
    case toml::node_type::string:
      return Json(node.as_string()->get());
    case toml::node_type::integer:
      return Json(node.as_integer()->get());
    case toml::node_type::floating_point:
      return Json(node.as_floating_point()->get());
    case toml::node_type::boolean:
      return Json(node.as_boolean()->get());
    default: {
      std::ostringstream text;  // dates and times
      node.visit([&](const auto& of) {
        if constexpr (!toml::is_table<decltype(of)> && !toml::is_array<decltype(of)>) text << *of;
      });
      return Json(text.str());
    }
  }
}

}  // namespace

Json parse_toml(std::string_view text, std::string_view source) {
  try {
    return value_of(toml::parse(text, source));
  } catch (const toml::parse_error& e) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}: line {}: {}", source, e.source().begin.line, e.description()));
  }
}

Json load_toml(const Path& path) { return parse_toml(read_file(path), path.string()); }

}  // namespace dure
