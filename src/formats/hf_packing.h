// formats/hf_packing.h: how Hugging Face files of a family that packs its experts hold them, and
// the way there and back.
//
// A layer whose experts have biases (GPT-OSS) has gate and up of all experts in one tensor, columns
// in turn, and every matrix turned: gate_up_proj [E, D, 2I] (gate row n of expert e is column 2n,
// up row n column 2n + 1), down_proj [E, I, D], gate_up_proj_bias [E, 2I], down_proj_bias [E, D].
// Released weights have MXFP4 in place of the matrices, not turned: NAME_blocks [E, rows, K/32, 16]
// and NAME_scales [E, rows, K/32], rows in turn likewise. Other layers' tensors lie as they are.
// Not here: finding them in a file (model_files.h).
//
// Source: transformers, gpt_oss (GptOssExperts) and integrations/mxfp4.py
// (convert_moe_packed_tensors).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "formats/tensor_names.h"

namespace dure {

// Where a tensor of the model lies in one of a file.
struct PackedPlace {
  std::string name;   // "model.layers.3.mlp.experts.gate_up_proj"
  Shape shape;        // [E, K, columns], or [E, columns] of biases
  int64_t first = 0;  // our row n is column first + n * step
  int64_t step = 1;
};
std::optional<PackedPlace> packed_place(TensorId id, const ModelConfig& config);

// out [N, K] = expert `expert` of stored [E, K, columns], of one plain type; or of a whole stack of
// biases out [E, N] of stored [E, columns] (expert -1).
void unpack(ConstTensorView stored, const PackedPlace& place, int64_t expert, TensorView out);
// out [N, K] MXFP4 = expert `expert` of blocks [E, rows, K/32, 16] and scales [E, rows, K/32]: the
// same numbers, in the order of kernels/block_decode.h.
void unpack_mxfp4(ConstTensorView blocks, ConstTensorView scales, const PackedPlace& place,
                  int64_t expert, TensorView out);

// A tensor of a file and what of the model is in it: itself, or several.
struct StoredTensor {
  std::string name;
  Shape shape;
  std::vector<ImpliedTensor> parts;  // of packed experts all, expert by expert
  bool packed = false;

  int64_t pieces() const;  // that packed_piece() makes of it
};
// Of a Hugging Face folder, in the order of its files.
std::vector<StoredTensor> stored_tensors(const ModelConfig& config);

// Piece `index` of a packed tensor in the file's order, of as many values as shape.elements() /
// pieces(). `fetch`: a part in F32, in host memory, there until the next call.
using FetchValues = std::function<ConstTensorView(const ImpliedTensor&)>;
void packed_piece(const StoredTensor& stored, int64_t index, const ModelConfig& config,
                  const FetchValues& fetch, std::vector<float>& values);

}  // namespace dure
