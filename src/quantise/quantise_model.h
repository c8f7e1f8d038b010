// quantise/quantise_model.h: a model's files to one GGUF file of chosen types.
//
// Streams: a stretch of rows of one tensor is in memory at a time, whatever the model's size, and
// the file appears under its name when it is whole. Not here: which types (type_choice.h), keys of
// the tokenizer (the caller's metadata), the command line (cli/).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "formats/model_files.h"
#include "quantise/block_encode.h"
#include "quantise/importance.h"
#include "quantise/type_choice.h"

namespace dure {

struct QuantiseJob {
  const ModelFiles& files;
  std::vector<TypeChoice> choices;               // of choose_types(files.config(), ...)
  const ImportanceMatrix* importance = nullptr;  // or none
  Path out;
  GgufMetadata metadata;  // general.file_type and quantization_version are the caller's, too
};

// What one tensor cost.
struct QuantisedTensor {
  std::string name;
  DType from = DType::kF32, to = DType::kF32;
  int64_t elements = 0, bytes_before = 0, bytes_after = 0;
  bool weighted = false;          // an importance matrix was used
  int64_t experts_unreached = 0;  // of its matrices, by the importance matrix
  EncodeError error;              // zero where the stored bytes were copied
};

// Which importance entries serve, before anything is written: throws kNotFound for a matrix that a
// block type waits for and the file does not name, and kInvalidArgument for one of another size.
// The embedding, the head and the MTP layer may be absent: nobody multiplies by the first, and text
// alone does not run the others everywhere.
void check_importance(const QuantiseJob& job);

// Throws kInvalidArgument naming the tensor for values that cannot be stored, kNoSpace before the
// first byte where the disk is too small, kInterrupted between stretches. `progress` gets elements
// done so far.
std::vector<QuantisedTensor> quantise_model(const QuantiseJob& job, Stream& stream,
                                            const std::function<void(int64_t)>& progress);

}  // namespace dure
