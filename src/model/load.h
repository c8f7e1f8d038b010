// model/load.h: weights from files into a model, and back.
//
// Training takes f32 masters (load_parameters); inference uses the mapped file in place where its
// layout allows (open_weights). Not here: the files' formats (formats/model_files.h).
#pragma once

#include <memory>

#include "formats/model_files.h"
#include "model/parameters.h"
#include "model/weights.h"

namespace dure {

// Every tensor that they hold, widened to f32. Throws kInvalidArgument where the file's model has
// another shape than `parameters`.
void load_parameters(const ModelFiles& files, Parameters& parameters, Stream& stream);

// Weights to run. Matrices keep their stored type and place, experts too, whether the files have
// them one by one or in stacks. Copied, and counted by owned_bytes(): norms and biases that are
// not f32, FP8 (decoded to bf16), packed experts (hf_packing.h), tensors at an address that their
// type cannot have. Keeps `files` alive. Matrices multiply as `arithmetic` where their type can and
// they are no router's, exactly elsewhere. Throws kUnsupported where experts of a layer differ in
// type, and where kBf16 is asked for and a matrix that multiplies is not BF16.
ModelWeights open_weights(std::shared_ptr<const ModelFiles> files,
                          Arithmetic arithmetic = Arithmetic::kExact);
// The same of what `holding` holds; fields of the rest stay empty, and nothing of it is read.
ModelWeights open_weights(std::shared_ptr<const ModelFiles> files, Arithmetic arithmetic,
                          const Holding& holding);

// kInteger8 or kBf16 where some matrix multiplies so: of a model without a quantised matrix, opened
// with the default, every product is exact.
Arithmetic arithmetic_in(const ModelWeights& weights);

// Where the weights of open_weights() will lie; from the files' headers alone.
struct WeightBytes {
  int64_t mapped = 0;  // used in place: pages of the file
  int64_t copied = 0;  // owned_bytes(): their pages of the file may go again
};
WeightBytes open_weights_bytes(const ModelFiles& files, const Holding& holding = {});

// What write_hf_folder() takes: the tensors of `parameters`, experts one by one. Both must outlive
// it; `stream` is of their device (null: host memory).
std::unique_ptr<TensorProvider> provide(const Parameters& parameters, Stream* stream = nullptr);
// The tensors of `files` as they are stored, which must be plain types.
std::unique_ptr<TensorProvider> provide(const ModelFiles& files);

}  // namespace dure
