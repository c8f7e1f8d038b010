// train/stage_cut.h: which layers each stage of a pipeline has.
//
// Runs of neighbours, at least one layer each, so that the costliest stage costs as little as can
// be; the embedding lies on the first stage, the final norm, the head and the MTP layer on the
// last. Or what the table of axes says (`ranks.layers`). Not here: when stages work
// (pipeline_schedule.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/ranks.h"
#include "model/holding.h"
#include "train/pipeline_schedule.h"

namespace dure {

// Layers of each stage, in order. `mtp`: whether the MTP layer is trained. Checked: 1 <= stages <=
// layers.
std::vector<int64_t> cut_layers(const ModelConfig& config, int64_t stages, bool mtp);

// Multiplications a token in a layer's products, in its forward; attention's own, which grow with
// the documents, left out.
int64_t layer_cost(const ModelConfig& config, const LayerFacts& facts);

// What the table says, else cut_layers(). Throws kInvalidArgument, naming `source`, where the model
// has too few layers or `ranks.layers` does not fit it, kUnsupported for a head that is the
// embedding.
std::vector<int64_t> stage_layers(const RankOptions& ranks, const ModelConfig& config, bool mtp,
                                  const std::string& source);

// What a stage of these holds. layers: of each stage; empty: one stage.
Holding stage_holding(const StagePlace& stage, const std::vector<int64_t>& layers);
// Of these what sampling needs: not the MTP layer.
Holding sampled_holding(const StagePlace& stage, const std::vector<int64_t>& layers);

}  // namespace dure
