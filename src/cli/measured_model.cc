// Arguments to subjects; an adapter is a subject of its own.
#include "cli/measured_model.h"

#include "base/error.h"
#include "cli/adapter_flag.h"
#include "cli/named_path.h"
#include "client/web_address.h"

namespace dure {

std::vector<MeasuredModel> measured_models(const std::vector<std::string>& models,
                                           const std::vector<std::string>& adapters) {
  std::vector<MeasuredModel> out;
  const std::vector<NamedPath> named = named_paths(models, "MODEL");
  if (adapters.empty()) {
    for (const NamedPath& model : named) out.push_back({model.name, model.path, ""});
    return out;
  }
  if (named.size() != 1)
    fail(ErrorCode::kInvalidArgument,
         "--adapter beside {} models: it is measured with the one model it adds to", named.size());
  if (is_web_address(named[0].path))
    fail(ErrorCode::kInvalidArgument,
         "--adapter: is for a model opened here; name an adapter of {} as --model NAME",
         named[0].path);
  for (const NamedPath& adapter : named_paths(adapters, "--adapter"))
    out.push_back({adapter.name, named[0].path, adapter.path});
  return out;
}

OpenModel open_subject(const MeasuredModel& subject, Arithmetic arithmetic) {
  OpenModel out = open_model(subject.model, arithmetic);
  if (!subject.adapter.empty()) add_adapter(out, subject.adapter);
  return out;
}

void note_adapter(const MeasuredModel& subject, const OpenModel& model, Json& identity,
                  Json& facts) {
  if (subject.adapter.empty()) return;
  identity["adapter"] = adapter_fingerprint(model);
  facts["adapter"] = subject.adapter;
  facts["adapter_rank"] = model.weights.adapter->rank_max;
}

}  // namespace dure
