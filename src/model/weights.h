// model/weights.h: the weights as the forward reads them, wherever they live: a trainer's f32
// block, or mapped files.
//
// Training and sampling read the same ModelWeights: there is no second copy to bring up to date. A
// mapped tensor is used in place in its stored type (BF16, quantised blocks), each expert where the
// file has it; what cannot be (norms that are not f32, FP8) is copied once, and owned_bytes()
// counts it.
#pragma once

#include <memory>
#include <vector>

#include "kernels/norm.h"  // RopeTable
#include "model/adapter.h"
#include "model/expert_exchange.h"
#include "model/parameters.h"

namespace dure {

// The table of one RopeFacts.
struct RopeRow {
  RopeFacts facts;
  ConstTensorView inverse_frequency;  // [H/2], see rope_inverse_frequency()
  Buffer room;                        // where that lies
};

struct ModelWeights : ModelOf<WeightView, ConstTensorView> {
  ModelConfig config;
  std::vector<RopeRow> rope_rows;  // one for each way in which a layer's heads turn
  std::vector<Buffer> owned;
  std::vector<std::vector<const void*>> addresses;  // the tables of WeightView::parts
  std::shared_ptr<const void> source;               // keeps the mapped files alive
  int64_t source_bytes = 0;                         // of these, what is memory and not map
  // What all rows go through unless their batch says otherwise (RowBatch::adapters); null: the base
  // alone. Who makes Activations for these weights plans rank_max() of inner rows.
  std::shared_ptr<const ModelAdapter> adapter;
  // How routed experts are reached that lie elsewhere: those of all sparse layers; null: all are
  // here.
  ExpertExchange* experts = nullptr;
  int64_t adapter_rank() const { return adapter == nullptr ? 0 : adapter->rank_max; }

  // Empty for a layer without RoPE. Checked: some layer of the config that the tables were made
  // from turns in that way.
  RopeTable rope(const RopeFacts& facts) const;
  int64_t owned_bytes() const;  // of weights: without the tables (8 bytes an expert's matrix)
  void make_rope_tables(Stream& stream);  // From the layers' facts, on the stream's device.
};

// Views of `parameters`, which must outlive them, on the stream's device.
ModelWeights bind_weights(const Parameters& parameters, Stream& stream);

// theta^(-2j/H), rescaled where the facts ask for it: long wavelengths divided by `factor`, short
// ones kept, a linear blend between, in the wavelength's inverse (llama3: Llama 3.1, section on
// context length) or in j (YaRN: arXiv 2309.00071, section 3.2, as transformers'
// _compute_yarn_parameters has it).
std::vector<float> rope_inverse_frequency(const RopeFacts& facts, int64_t head_width);

}  // namespace dure
