// cli/measured_model.h: who `dure eval` measures: models, addresses, or one model with each of
// several adapters.
//
// Owns how MODEL and --adapter become subjects with names, and what a record says of an adapter.
// Not here: measuring (eval_suite.cc, verb_eval.cc).
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "chat/open_model.h"

namespace dure {

struct MeasuredModel {
  std::string name;
  std::string model;    // a path, a repo id or an address
  std::string adapter;  // beside it; empty: none
};

// `models`, `adapters`: NAME=PATH or PATH each. With adapters there is one model, opened here, and
// a subject is named as its adapter. Throws kInvalidArgument where that is not so, or two have one
// name.
std::vector<MeasuredModel> measured_models(const std::vector<std::string>& models,
                                           const std::vector<std::string>& adapters);

// Throws what open_model() and add_adapter() throw.
OpenModel open_subject(const MeasuredModel& subject, Arithmetic arithmetic);

// Of an adapter: "adapter" (where it lies) and "adapter_rank" among the facts, its fingerprint as
// "adapter" in the identity: answers of another one are not gone on with.
void note_adapter(const MeasuredModel& subject, const OpenModel& model, Json& identity,
                  Json& facts);

}  // namespace dure
