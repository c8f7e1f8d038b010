// cli/inspect_adapter.h: `dure inspect ADAPTER`: what an adapter is, and whether it fits a model.
//
// Not here: models and containers (verb_inspect.cc), reading adapters (formats/adapter_files.h).
#pragma once

#include <optional>
#include <string>

#include "base/file.h"

namespace dure {

struct InspectAdapterOptions {
  bool json = false;
  bool tensors = false;
  std::optional<std::string> base;  // a model that it must fit
};

// Prints it. Throws as adapter_facts() does, and with `base` as read_adapter() does.
void inspect_adapter(const Path& path, const InspectAdapterOptions& options);

}  // namespace dure
