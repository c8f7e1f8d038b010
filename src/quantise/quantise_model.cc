// Tensor by tensor, matrix by matrix, stretch by stretch: load, widen, encode, write at its place.
// Blocks of the wanted type are copied.
#include "quantise/quantise_model.h"

#include <algorithm>

#include "base/check.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "kernels/convert.h"
#include "tensor/host_array.h"

namespace dure {
namespace {

constexpr int64_t kStretchElements = int64_t{1} << 22;  // 16 MiB of f32 at a time

// Entries that may be absent from a file: see the header.
bool may_lack_importance(TensorId id, const ModelConfig& config) {
  return id.role == TensorRole::kEmbedding || id.role == TensorRole::kHead ||
         id.role == TensorRole::kMtpFc || id.layer == config.layer_count();
}

int64_t matrices_of(TensorId id, const ModelConfig& config) {
  return is_expert(id.role) ? config.layer(id.layer).experts.count : 1;
}

TensorId matrix_id(TensorId id, int64_t matrix) {
  return {id.role, id.layer, is_expert(id.role) ? matrix : -1};
}

class Quantiser {
 public:
  Quantiser(const QuantiseJob& job, Stream& stream, const std::function<void(int64_t)>& progress)
      : job_(job), stream_(stream), progress_(progress) {
    std::vector<TensorInfo> infos;
    int64_t bytes = 0;
    for (const TypeChoice& tensor : job.choices) {
      infos.push_back(tensor.info);
      bytes += tensor.info.bytes();
    }
    check_free_space(job.out, bytes);
    writer_.emplace(job.out, job.metadata, infos);
  }

  std::vector<QuantisedTensor> run() {
    const InterruptScope scope;
    std::vector<QuantisedTensor> out;
    for (const TypeChoice& tensor : job_.choices) out.push_back(one_tensor(tensor));
    writer_->commit();
    return out;
  }

 private:
  QuantisedTensor one_tensor(const TypeChoice& tensor) {
    QuantisedTensor result{.name = tensor.info.name,
                           .from = job_.files.dtype(matrix_id(tensor.id, 0)),
                           .to = tensor.info.dtype,
                           .elements = tensor.info.elements(),
                           .bytes_after = tensor.info.bytes()};
    const ImportanceEntry* entry = job_.importance == nullptr || !is_block(tensor.info.dtype)
                                       ? nullptr
                                       : job_.importance->find(tensor.info.name);
    result.weighted = entry != nullptr;
    if (entry != nullptr && entry->matrices > 1) result.experts_unreached = entry->unreached();
    const int64_t matrices = matrices_of(tensor.id, job_.files.config());
    for (int64_t m = 0; m < matrices; ++m) {
      const ConstTensorView stored = job_.files.load(matrix_id(tensor.id, m), loaded_);
      result.bytes_before += stored.bytes();
      std::vector<float> weights;
      if (entry != nullptr) weights = entry->weights(entry->matrices > 1 ? m : 0);
      one_matrix(tensor, stored, weights, m * (tensor.info.bytes() / matrices), result);
    }
    return result;
  }

  void one_matrix(const TypeChoice& tensor, ConstTensorView stored, std::span<const float> weights,
                  int64_t byte_offset, QuantisedTensor& result) {
    const DType to = tensor.info.dtype;
    const int64_t columns = stored.shape.back(), rows = stored.elements() / columns;
    const int64_t step = std::max<int64_t>(1, kStretchElements / columns);
    const ConstTensorView flat = stored.reshaped({rows, columns});
    for (int64_t first = 0; first < rows; first += step) {
      throw_if_interrupted("nothing was written; start again");
      const int64_t count = std::min(step, rows - first);
      const ConstTensorView piece = flat.rows(first, count);
      if (stored.dtype == to && is_block(to)) {  // Blocks of the wanted type stay as they are.
        put(tensor, byte_offset + first * row_bytes(to, columns), host_bytes(piece));
      } else {
        encode(tensor, piece, weights, first, byte_offset + first * row_bytes(to, columns), result);
      }
      done_ += count * columns;
      progress_(done_);
    }
  }

  void encode(const TypeChoice& tensor, ConstTensorView piece, std::span<const float> weights,
              int64_t first_row, int64_t byte_offset, QuantisedTensor& result) {
    const DType to = tensor.info.dtype;
    const int64_t rows = piece.dim(0), columns = piece.dim(1);
    values_.resize(static_cast<size_t>(rows * columns));
    encoded_.resize(static_cast<size_t>(rows * row_bytes(to, columns)));
    widen(piece, host_view(values_.data(), {rows, columns}), stream_);
    result.error.add(encode_rows({.dtype = to,
                                  .values = values_,
                                  .columns = columns,
                                  .importance = weights,
                                  .name = tensor.info.name,
                                  .first_row = first_row},
                                 encoded_.data(), stream_));
    put(tensor, byte_offset, {reinterpret_cast<const char*>(encoded_.data()), encoded_.size()});
  }

  void put(const TypeChoice& tensor, int64_t offset, std::string_view bytes) {
    writer_->write_piece(tensor.info.name, offset, bytes);
  }

  const QuantiseJob& job_;
  Stream& stream_;
  const std::function<void(int64_t)>& progress_;
  std::optional<GgufWriter> writer_;
  Buffer loaded_;
  std::vector<float> values_;
  std::vector<uint8_t> encoded_;
  int64_t done_ = 0;
};

}  // namespace

void check_importance(const QuantiseJob& job) {
  if (job.importance == nullptr) return;
  const ModelConfig& config = job.files.config();
  for (const TypeChoice& tensor : job.choices) {
    if (!is_block(tensor.info.dtype)) continue;
    const ImportanceEntry* entry = job.importance->find(tensor.info.name);
    if (entry == nullptr) {
      if (may_lack_importance(tensor.id, config)) continue;
      fail(ErrorCode::kNotFound,
           "the importance matrix has no entry for {}; was it made from another model?",
           tensor.info.name);
    }
    const int64_t matrices = matrices_of(tensor.id, config), columns = tensor.info.shape.back();
    if (entry->columns != columns || (entry->matrices != matrices && entry->matrices != 1))
      fail(ErrorCode::kInvalidArgument,
           "the importance matrix has {} x {} values for {}, the tensor needs {} x {}; was it made "
           "from another model?",
           entry->matrices, entry->columns, tensor.info.name, matrices, columns);
  }
}

std::vector<QuantisedTensor> quantise_model(const QuantiseJob& job, Stream& stream,
                                            const std::function<void(int64_t)>& progress) {
  check_importance(job);
  return Quantiser(job, stream, progress).run();
}

}  // namespace dure
