// jinja/to_json.h: the filter tojson as transformers defines it: Python's json.dumps,
// non-ASCII kept.
#pragma once

#include <optional>
#include <string>

#include "jinja/value.h"

namespace dure::jinja {

struct ToJsonOptions {
  bool ensure_ascii = false;
  std::optional<std::string> indent;  // The text of one level.
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};

std::string to_json(
    const Value& value,
    const ToJsonOptions& options);  // Throws TypeError for what JSON has no word for.

}  // namespace dure::jinja
