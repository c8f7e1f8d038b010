// formats/adapter_facts.h: what an adapter's files say of it without its base, for who looks at
// one.
//
// Names and shapes are the file's own; whether they fit a model, read_adapter() says
// (adapter_files.h). No values are read.
#pragma once

#include <string>
#include <vector>

#include "base/file.h"
#include "formats/tensor_source.h"

namespace dure {

// One pair of factors as it is stored.
struct AdapterModule {
  std::string name;     // "model.layers.3.self_attn.q_proj", "blk.3.attn_q.weight"
  Shape a, b;           // [R, K] and [N, R]; of experts [E R, K] and [N, R E], or of rank 3
  int64_t rank = 0;     // R
  double scale = 0;     // of the addition
  int64_t experts = 0;  // E; 0: no routed experts
};

struct AdapterFacts {
  std::string where;         // the file of the tensors
  bool gguf = false;         // else a PEFT folder
  std::string base;          // as the file names it; may be empty
  std::string architecture;  // a GGUF file's
  double alpha = 0;
  bool rank_stabilised = false;
  std::vector<AdapterModule> modules;
  std::vector<TensorInfo> tensors;
};

// Throws as read_adapter() does where the files contradict themselves or are of a kind that is not
// read.
AdapterFacts adapter_facts(const Path& path);

}  // namespace dure
