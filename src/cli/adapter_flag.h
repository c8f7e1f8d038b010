// cli/adapter_flag.h: --adapter of a verb that opens one model: every answer of it goes through
// that adapter, beside the base as it is stored.
//
// Not here: reading adapters (formats/adapter_files.h), several of them by request (verb_serve.cc).
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "chat/open_model.h"
#include "cli/args.h"

namespace dure {

struct AdapterFlag {
  std::optional<std::string> given;  // NAME=PATH, or PATH
  void declare(Args& args, const char* help);
  void declare(Args& args);
  // Adds it to the model, if one was given. Throws as read_adapter() does.
  void add_to(OpenModel& model) const;
  std::string path() const;  // empty: none was given
  // Behind a model's name: " with NAME"; empty: none was given.
  std::string with_text() const;
};

// What tells a model's adapter from others, of its layout and values: 16 hexadecimal digits.
// Checked: it has one.
std::string adapter_fingerprint(const OpenModel& model);

}  // namespace dure
