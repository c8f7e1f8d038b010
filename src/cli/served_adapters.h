// cli/served_adapters.h: `--adapter NAME=PATH` of `dure serve`: adapters opened beside the model.
//
// Not here: what an adapter does (model/adapter.h), who asks for which (server/).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "chat/open_model.h"
#include "server/served_model.h"

namespace dure {

// Each NAME=PATH, or PATH, whose last part is the name then; `taken` are names of the model's own.
// Throws kInvalidArgument for a name that is empty, taken or given twice, and what open_adapter()
// throws.
std::vector<ServedAdapter> open_adapters(const std::vector<std::string>& given,
                                         const std::vector<std::string>& taken,
                                         const OpenModel& model, Stream& stream);
int64_t largest_rank(std::span<const ServedAdapter> adapters);
// An adapter of routed experts would have to lie where the experts do: kUnsupported naming it.
void refuse_expert_adapter(const ModelAdapter& adapter, const std::string& name, int64_t ranks);
void refuse_expert_adapters(std::span<const ServedAdapter> adapters, int64_t ranks);

}  // namespace dure
