// How the updates of many tensors reach the workers: chunks of flat tensors (AdamW, sums of
// squares), matrices and stacks of products (Muon).
#include "kernels/cpu/optimiser.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "kernels/cpu/matmul.h"
#include "kernels/cpu/optimiser_simd.h"
#include "kernels/cpu/parallel_rows.h"

namespace dure::cpu {
namespace {

constexpr int64_t kChunk = 16384;  // 64 KiB a span: five of them fit the second-level cache.

struct Chunk {
  size_t tensor = 0;
  int64_t begin = 0, count = 0;
};

// The chunks of a list of tensors, numbered in order. The table lies in the scratch of worker 0,
// with `more_bytes` for each chunk behind it: no loop over chunks may ask for that scratch.
class Chunks {
 public:
  template <typename List, typename Elements>
  Chunks(const List& list, Elements elements, size_t more_bytes, CpuStream& stream) {
    int64_t total = 0;
    for (const auto& tensor : list) total += chunks_of(elements(tensor));
    const size_t entries = list.size() + 1, table = 2 * entries * sizeof(int64_t);
    auto* room =
        static_cast<int64_t*>(stream.scratch(0, table + static_cast<size_t>(total) * more_bytes));
    firsts_ = {room, entries};
    sizes_ = {room + entries, entries};
    firsts_[0] = 0;
    for (size_t t = 0; t < list.size(); ++t) {
      sizes_[t] = elements(list[t]);
      firsts_[t + 1] = firsts_[t] + chunks_of(sizes_[t]);
    }
  }

  static int64_t chunks_of(int64_t elements) { return (elements + kChunk - 1) / kChunk; }
  int64_t count() const { return firsts_.back(); }
  void* more() const { return sizes_.data() + sizes_.size(); }

  Chunk operator[](int64_t index) const {
    const auto after = std::upper_bound(firsts_.begin(), firsts_.end(), index);
    const auto tensor = static_cast<size_t>(after - firsts_.begin()) - 1;
    const int64_t begin = (index - firsts_[tensor]) * kChunk;
    return {tensor, begin, std::min(kChunk, sizes_[tensor] - begin)};
  }

 private:
  std::span<int64_t> firsts_;  // chunk number at which each tensor starts, and the end
  std::span<int64_t> sizes_;   // elements of each tensor
};

AdamWScalars scalars_of(const AdamWStep& s, double weight_decay) {
  const double correction1 = 1 - std::pow(s.beta1, static_cast<double>(s.step));
  const double correction2 = 1 - std::pow(s.beta2, static_cast<double>(s.step));
  return {.keep = static_cast<float>(1 - s.learning_rate * weight_decay),
          .beta1 = static_cast<float>(s.beta1),
          .one_minus_beta1 = static_cast<float>(1 - s.beta1),
          .beta2 = static_cast<float>(s.beta2),
          .one_minus_beta2 = static_cast<float>(1 - s.beta2),
          .rate = static_cast<float>(s.learning_rate / correction1),
          .root_scale = static_cast<float>(1 / std::sqrt(correction2)),
          .epsilon = static_cast<float>(s.epsilon),
          .gradient_scale = static_cast<float>(s.gradient_scale)};
}

// Sum over a fixed binary tree: pairs (0, 1), (2, 3), ... level by level, an odd last one carried
// up. Destroys `values`.
double tree_sum(std::span<double> values) {
  size_t count = values.size();
  if (count == 0) return 0;
  while (count > 1) {
    for (size_t i = 0; i < count / 2; ++i) values[i] = values[2 * i] + values[2 * i + 1];
    if (count % 2 == 1) values[count / 2] = values[count - 1];
    count = (count + 1) / 2;
  }
  return values[0];
}

// Muon.

constexpr int64_t kBatchMax = 64;  // Matrices that all workers go through together.

// Matrices of one shape under orthogonalisation, dense one after another. Tall ones are not turned:
// with x^T x for x x^T and x P for P x every element is the same chain over the same products.
struct Batch {
  int64_t rows = 0, columns = 0, count = 0;
  float *x = nullptr, *next = nullptr;           // [count, rows, columns]
  float *gram = nullptr, *polynomial = nullptr;  // [count, least, least]
  int64_t least() const { return std::min(rows, columns); }
  int64_t elements() const { return rows * columns; }
  bool tall() const { return rows > columns; }
};

// In `workspace`: 2 (rows columns + least least) floats a matrix.
Batch batch_in(float* workspace, int64_t rows, int64_t columns, int64_t count) {
  Batch b{.rows = rows, .columns = columns, .count = count};
  b.x = workspace;
  b.next = b.x + count * b.elements();
  b.gram = b.next + count * b.elements();
  b.polynomial = b.gram + count * b.least() * b.least();
  return b;
}

struct Offsets {
  std::array<int64_t, kBatchMax + 1> values;
  int64_t count;
  Offsets(int64_t parts, int64_t each) : count(parts) {
    for (int64_t i = 0; i <= parts; ++i) values[static_cast<size_t>(i)] = i * each;
  }
  std::span<const int64_t> span() const {
    return std::span(values).first(static_cast<size_t>(count + 1));
  }
};

const char* bytes_of(const float* x) { return reinterpret_cast<const char*>(x); }
int64_t bytes(int64_t floats) { return floats * static_cast<int64_t>(sizeof(float)); }

// gram = x x^T
void multiply_gram(const Batch& b, CpuStream& stream) {
  const Offsets offsets(b.count, b.rows);
  MatMulStack stack{.whole = {.rows = b.least(),
                              .columns = b.least(),
                              .steps = std::max(b.rows, b.columns),
                              .a = b.x,
                              .a_stride = b.columns,
                              .a_by_step = b.tall(),
                              .b = bytes_of(b.x),
                              .b_row_bytes = bytes(b.columns),
                              .b_by_column = !b.tall(),
                              .c = b.gram,
                              .c_stride = b.least(),
                              .symmetric = true},
                    .offsets = offsets.span(),
                    .ragged_steps = b.tall(),
                    .b_parts = {.stride_bytes = bytes(b.elements())},
                    .c_part_elements = b.least() * b.least()};
  (b.tall() ? stack.whole.steps : stack.whole.rows) *= b.count;
  matmul_stack(stack, stream);
}

constexpr float kA = 3.4445f, kB = -4.7750f, kC = 2.0315f;

// polynomial = c A A + b A, A the Gram matrix
void multiply_polynomial(const Batch& b, CpuStream& stream) {
  const Offsets offsets(b.count, b.least());
  matmul_stack({.whole = {.rows = b.count * b.least(),
                          .columns = b.least(),
                          .steps = b.least(),
                          .a = b.gram,
                          .a_stride = b.least(),
                          .b = bytes_of(b.gram),
                          .b_row_bytes = bytes(b.least()),
                          .c = b.polynomial,
                          .c_stride = b.least(),
                          .finish = Finish::kAdd,
                          .d = b.gram,
                          .alpha = kC,
                          .beta = kB,
                          .symmetric = true},
                .offsets = offsets.span(),
                .b_parts = {.stride_bytes = bytes(b.least() * b.least())}},
               stream);
}

// next = polynomial x + a x
void multiply_next(const Batch& b, CpuStream& stream) {
  const Offsets offsets(b.count, b.rows);
  const bool tall = b.tall();
  matmul_stack({.whole = {.rows = b.count * b.rows,
                          .columns = b.columns,
                          .steps = b.least(),
                          .a = tall ? b.x : b.polynomial,
                          .a_stride = b.least(),
                          .b = bytes_of(tall ? b.polynomial : b.x),
                          .b_row_bytes = bytes(b.columns),
                          .c = b.next,
                          .c_stride = b.columns,
                          .finish = Finish::kAdd,
                          .d = b.x,
                          .beta = kA},
                .offsets = offsets.span(),
                .b_parts = {.stride_bytes = bytes(tall ? b.least() * b.least() : b.elements())}},
               stream);
}

void scale_to_unit(float* x, int64_t count) {
  const double norm = std::sqrt(squares_span(x, count)) + 1e-7;
  scale_span(static_cast<float>(1 / norm), x, count);
}

// Where the result lies: x or next.
const float* newton_schulz(Batch b, int iterations, CpuStream& stream) {
  stream.threads().parallel_for(
      b.count, [&](int64_t i, int) { scale_to_unit(b.x + i * b.elements(), b.elements()); });
  for (int i = 0; i < iterations; ++i) {
    multiply_gram(b, stream);
    multiply_polynomial(b, stream);
    multiply_next(b, stream);
    std::swap(b.x, b.next);
  }
  return b.x;
}

int64_t rows_of(const Shape& shape) { return shape[shape.rank() - 2]; }
int64_t parts_of(const Shape& shape) { return shape.rank() == 3 ? shape[0] : 1; }

struct Matrix {
  const MuonTensor& tensor;
  int64_t begin, rows, columns;  // begin: elements before it
};

// Number `index` among all matrices of `tensors`.
Matrix matrix_of(std::span<const MuonTensor> tensors, int64_t index) {
  size_t t = 0;
  for (; index >= parts_of(tensors[t].weight.shape); ++t)
    index -= parts_of(tensors[t].weight.shape);
  const Shape& shape = tensors[t].weight.shape;
  const int64_t rows = rows_of(shape), columns = shape.back();
  return {tensors[t], index * rows * columns, rows, columns};
}

// Calls body(i, begin, count) for pieces of `count` spans of `size` elements.
template <typename Body>
void parallel_pieces(CpuStream& stream, int64_t count, int64_t size, Body&& body) {
  const int64_t pieces = (size + kChunk - 1) / kChunk;
  stream.threads().parallel_for(count * pieces, [&](int64_t index, int) {
    const int64_t begin = index % pieces * kChunk;
    body(index / pieces, begin, std::min(kChunk, size - begin));
  });
}

MomentumScalars momentum_scalars(const MuonStep& step) {
  const auto decay = static_cast<float>(step.momentum),
             scale = static_cast<float>(step.gradient_scale);
  return {.decay = decay,
          .gradient_scale = scale,
          .own = step.nesterov ? scale : 0.0f,
          .look_ahead = step.nesterov ? decay : 1.0f};
}

// Matrices [first, first + count), all of one shape.
void step_batch(std::span<const MuonTensor> tensors, int64_t first, int64_t count,
                const MuonStep& step, float* workspace, CpuStream& stream) {
  const auto [_, begin_of_first, rows, columns] = matrix_of(tensors, first);
  const int64_t size = rows * columns;
  const Batch batch = batch_in(workspace, rows, columns, count);
  const MomentumScalars scalars = momentum_scalars(step);
  parallel_pieces(stream, count, size, [&](int64_t i, int64_t begin, int64_t length) {
    const Matrix m = matrix_of(tensors, first + i);
    const int64_t at = m.begin + begin;
    momentum_span(scalars, m.tensor.gradient.f32() + at, m.tensor.momentum.f32() + at,
                  batch.x + i * size + begin, length);
  });
  const float* update = newton_schulz(batch, step.iterations, stream);
  const auto rate = static_cast<float>(step.learning_rate * 0.2 *
                                       std::sqrt(static_cast<double>(std::max(rows, columns))));
  parallel_pieces(stream, count, size, [&](int64_t i, int64_t begin, int64_t length) {
    const Matrix m = matrix_of(tensors, first + i);
    const auto keep = static_cast<float>(1 - step.learning_rate * m.tensor.weight_decay);
    move_span(keep, rate, update + i * size + begin, m.tensor.weight.f32() + m.begin + begin,
              length);
  });
}

int64_t matrices_of(std::span<const MuonTensor> tensors) {
  int64_t count = 0;
  for (const MuonTensor& t : tensors) count += parts_of(t.weight.shape);
  return count;
}

// How many tensors from the front have matrices of one shape.
size_t alike(std::span<const MuonTensor> tensors) {
  const Shape& first = tensors[0].weight.shape;
  const auto other = std::find_if(tensors.begin(), tensors.end(), [&](const MuonTensor& t) {
    const Shape& shape = t.weight.shape;
    return rows_of(shape) != rows_of(first) || shape.back() != first.back();
  });
  return static_cast<size_t>(other - tensors.begin());
}

}  // namespace

void adamw(std::span<const AdamWTensor> tensors, const AdamWStep& step, CpuStream& stream) {
  const Chunks chunks(
      tensors, [](const AdamWTensor& t) { return t.weight.elements(); }, 0, stream);
  stream.threads().parallel_for(chunks.count(), [&](int64_t i, int) {
    const Chunk c = chunks[i];
    const AdamWTensor& t = tensors[c.tensor];
    adamw_span(scalars_of(step, t.weight_decay), t.weight.f32() + c.begin,
               t.gradient.f32() + c.begin, t.first.f32() + c.begin, t.second.f32() + c.begin,
               c.count);
  });
}

// Many matrices: each by one worker, which shares nothing, waits for nobody and keeps it in its
// second-level cache. Few: those of one shape by all workers together.
void muon(std::span<const MuonTensor> tensors, const MuonStep& step, TensorView workspace,
          CpuStream& stream) {
  const int64_t workers = stream.thread_count(), slot = workspace.elements() / workers;
  const int64_t total = matrices_of(tensors);
  if (total >= 4 * workers) {
    stream.threads().parallel_for(total, [&](int64_t i, int worker) {
      step_batch(tensors, i, 1, step, workspace.f32() + worker * slot, stream);
    });
    return;
  }
  const int64_t most = std::min(workers, kBatchMax);
  while (!tensors.empty()) {
    const auto run = tensors.first(alike(tensors));
    const int64_t count = matrices_of(run);
    for (int64_t i = 0; i < count; i += most)
      step_batch(run, i, std::min(most, count - i), step, workspace.f32(), stream);
    tensors = tensors.subspan(run.size());
  }
}

void orthogonalise(TensorView x, int iterations, TensorView workspace, CpuStream& stream) {
  const int64_t rows = rows_of(x.shape), columns = x.shape.back(), size = rows * columns;
  for (int64_t i = 0; i < parts_of(x.shape); ++i) {
    Batch one = batch_in(workspace.f32(), rows, columns, 1);
    one.x = x.f32() + i * size;
    const float* result = newton_schulz(one, iterations, stream);
    if (result != one.x) std::memcpy(one.x, result, static_cast<size_t>(bytes(size)));
  }
}

namespace {

int64_t elements_of(const ConstTensorView& t) { return t.elements(); }

// sums: [chunks] = the squares of each.
void add_up_chunks(const Chunks& chunks, std::span<const ConstTensorView> tensors,
                   std::span<double> sums, CpuStream& stream) {
  stream.threads().parallel_for(chunks.count(), [&](int64_t i, int) {
    const Chunk c = chunks[i];
    sums[static_cast<size_t>(i)] = squares_span(tensors[c.tensor].f32() + c.begin, c.count);
  });
}

}  // namespace

double sum_of_squares(std::span<const ConstTensorView> tensors, CpuStream& stream) {
  const Chunks chunks(tensors, elements_of, sizeof(double), stream);
  const std::span sums(static_cast<double*>(chunks.more()), static_cast<size_t>(chunks.count()));
  add_up_chunks(chunks, tensors, sums, stream);
  return tree_sum(sums);
}

int64_t squares_chunk_count(int64_t elements) { return Chunks::chunks_of(elements); }

void squares_by_chunk(std::span<const ConstTensorView> tensors, std::span<double> sums,
                      CpuStream& stream) {
  add_up_chunks(Chunks(tensors, elements_of, 0, stream), tensors, sums, stream);
}

double sum_of_chunks(std::span<double> sums) { return tree_sum(sums); }

}  // namespace dure::cpu
