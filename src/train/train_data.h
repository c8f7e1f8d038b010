// train/train_data.h: the data of a pretraining or fine-tuning run: sources to learn from, sets to
// measure on, and batches without padding.
//
// Owns what the fields of `data:` open (docs/training.md). Not here: rows and their order
// (data/packing.h), conversations and problems as tokens (data/sft.h), measuring (heldout.h).
#pragma once

#include <string>
#include <vector>

#include "data/packing.h"
#include "data/sft.h"
#include "model/train_pass.h"
#include "train/heldout.h"
#include "train/trainer.h"

namespace dure {

// Text in pieces of a row at most; for sft, conversations, generated problems and replayed text.
// data.corpora are prepared folders by now (prepared_corpora()); they come first, in order.
// Tokenises into OUTPUT/cache. `source` names the configuration in errors. Throws kInvalidArgument
// where nothing is to be learnt from, and what files get wrong.
std::vector<WeightedSource> open_sources(const TrainConfig& config, const TrainingFormat& format,
                                         const std::string& source);

// A set for each language of the corpus; for sft "tasks" and "chat"; of data.corpora "NAME" for
// conversations and "NAME_LANGUAGE" for texts. Empty where there are none.
std::vector<HeldoutSet> open_heldout(const TrainConfig& config, const TrainingFormat& format);

// Where tokens and documents came from so far: "sources/NAME/tokens", and "sources/NAME/epochs" of
// what has an end.
void add_source_counts(const BatchSource& batches, Json& row);

// Takes out the documents that are nothing but padding: they would cost time and count in the
// router's load.
void drop_padding(TrainBatch& batch, int32_t pad_id);

inline TrainInput input_of(const TrainBatch& batch) {
  return {.ids = batch.ids, .targets = batch.targets, .document_lengths = batch.document_lengths};
}

}  // namespace dure
