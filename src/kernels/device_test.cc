// The seam is real: every operation of every contract, run on the CPU and on memory that only
// kernels and transfers can touch, gives the same bits; and no operation of a header is left out.
#include <algorithm>
#include <numeric>
#include <set>

#include "base/file.h"
#include "kernels/attention.h"
#include "kernels/bias.h"
#include "kernels/convert.h"
#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/fingerprint.h"
#include "kernels/kernel_testing.h"
#include "kernels/kv_store.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "kernels/optimiser.h"
#include "kernels/random.h"
#include "kernels/router.h"
#include "kernels/rows.h"
#include "kernels/touch.h"
#include "tensor/fenced_stream.h"
#include "tensor/host_array.h"

namespace dure {
namespace {

using namespace testing;

// Makes the tensors of one operation on the stream's device and reads them all back at the end.
class Rig {
 public:
  explicit Rig(Stream& s) : stream(s) {}

  // A device tensor that holds `values`.
  template <typename T>
  TensorView of(Shape shape, const std::vector<T>& values) {
    buffers_.push_back(Buffer::of(dtype_of<T>(), shape, stream.device()));
    const TensorView view = buffers_.back().view(dtype_of<T>(), shape);
    copy_from_host(std::span<const T>(values), view, stream);
    readers_.push_back([this, view] { append(HostCopy<T>(view.elements(), view.device), view); });
    return view;
  }
  template <typename T>
  TensorView of(const std::vector<T>& values) {
    return of({static_cast<int64_t>(values.size())}, values);
  }
  // Random floats, other ones each time. What an operation sets starts from them too.
  TensorView floats(Shape shape) { return of(shape, random_tensor(shape, ++made_).values()); }
  TensorView halves(Shape shape) {
    std::vector<uint16_t> bits;
    for (const float x : random_tensor(shape, ++made_).values()) bits.push_back(f32_to_bf16(x));
    return of(shape, bits);
  }
  // `count` indices below `bound`.
  TensorView indices(int64_t count, int64_t bound) {
    std::vector<int32_t> out;
    Rng rng(41, ++made_);
    for (int64_t i = 0; i < count; ++i) out.push_back(static_cast<int32_t>(rng.below(bound)));
    return of(out);
  }
  // Everything as it is now.
  std::string bytes() {
    bytes_.clear();
    for (const auto& read : readers_) read();
    return bytes_;
  }

  Stream& stream;

 private:
  template <typename T>
  void append(HostCopy<T> copy, ConstTensorView view) {
    const std::span<const T> values = copy.of(view, stream);
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  }
  std::vector<Buffer> buffers_;
  std::vector<std::function<void()>> readers_;
  std::string bytes_;
  uint64_t made_ = 0;
};

struct Operation {
  std::string name;
  std::function<void(Rig&)> run;
};

const std::vector<int32_t> kTargets = {3, kIgnore, 12, 0};
const std::vector<int64_t> kGroups = {0, 3, 3, 20, 21};  // of 21 rows, 4 experts

WeightView in_bf16(ConstTensorView w) { return {.data = w, .arithmetic = Arithmetic::kBf16}; }

std::vector<Operation> matrix_products() {
  return {
      {"touch_matrix",
       [](Rig& r) {
         const WeightView weight{r.halves({4, 30, 40})};
         for (int64_t e = 0; e < weight.stack(); ++e) touch_matrix(weight, e, r.stream);
       }},
      {"fingerprint",
       [](Rig& r) {
         uint64_t hash = 1;
         fingerprint(WeightView{r.halves({4, 30, 40})}, 2, hash, r.stream);
         fingerprint(r.floats({90, 70}), hash, r.stream);
         r.of(std::vector<double>{static_cast<double>(hash >> 11)});
       }},
      {"linear",
       [](Rig& r) {
         linear({r.halves({30, 40})}, r.floats({21, 40}), r.floats({21, 30}), r.stream);
       }},
      {"linear_input_gradient",
       [](Rig& r) {
         linear_input_gradient({r.halves({30, 40})}, r.floats({21, 30}), r.floats({21, 40}),
                               Write::kAdd, r.stream);
       }},
      {"linear_weight_gradient",
       [](Rig& r) {
         linear_weight_gradient(r.floats({21, 30}), r.floats({21, 40}), r.floats({30, 40}),
                                Arithmetic::kExact, r.stream);
       }},
      {"grouped_linear",
       [](Rig& r) {
         const TensorView w = r.halves({4, 30, 40});
         std::vector<const void*> parts;  // The host's own table of addresses.
         for (const int64_t e : {2, 0, 3, 1}) parts.push_back(w.slice(e).data);
         const TensorView offsets = r.of(kGroups), x = r.floats({21, 40});
         grouped_linear({w}, offsets, x, r.floats({21, 30}), r.stream);
         grouped_linear({.data = w, .parts = parts.data()}, offsets, x, r.floats({21, 30}),
                        r.stream);
         grouped_linear(in_bf16(w), offsets, x, r.floats({21, 30}), r.stream);
       }},
      {"grouped_linear_take",
       [](Rig& r) {
         // F32 noise is as good as any bytes of Q8_0 blocks; [4, 30, 64].
         const TensorView bytes = r.floats({4 * 30 * 2 * 34 / 4});
         const WeightView w{.data = {bytes.data, {4, 30, 64}, DType::kQ8_0, bytes.device},
                            .arithmetic = Arithmetic::kInteger8};
         const TensorView x = r.floats({9, 64}), y = r.floats({21, 30});
         const Product product{w, y};
         grouped_linear_take({&product, 1}, r.of(kGroups), r.indices(21, 9), x, r.stream);
       }},
      {"grouped_linear_input_gradient",
       [](Rig& r) {
         grouped_linear_input_gradient({r.halves({4, 30, 40})}, r.of(kGroups), r.floats({21, 30}),
                                       r.floats({21, 40}), Write::kSet, r.stream);
         grouped_linear_input_gradient(in_bf16(r.halves({4, 30, 40})), r.of(kGroups),
                                       r.floats({21, 30}), r.floats({21, 40}), Write::kAdd,
                                       r.stream);
       }},
      {"grouped_linear_weight_gradient",
       [](Rig& r) {
         grouped_linear_weight_gradient(r.of(kGroups), r.floats({21, 30}), r.floats({21, 40}),
                                        r.floats({4, 30, 40}), Arithmetic::kExact, r.stream);
         grouped_linear_weight_gradient(r.of(kGroups), r.floats({21, 30}), r.floats({21, 40}),
                                        r.floats({4, 30, 40}), Arithmetic::kBf16, r.stream);
       }},
  };
}

// Two documents of 70 and 5 rows; the keys are the rows of the batch.
struct Packed {
  AttentionShape shape{4, 2, 16, 32};
  AttentionForward forward;
  std::vector<AttentionSegment> segments;
  explicit Packed(Rig& r) {
    const Shape query{75, 4, 16}, key{75, 2, 16};
    const TensorView k = r.floats(key), v = r.floats(key);
    forward = {r.floats(query), k, v, {}, {}};
    segments = {{0, 70, 0, contiguous_kv(k.rows(0, 70), v.rows(0, 70))},
                {70, 5, 0, contiguous_kv(k.rows(70, 5), v.rows(70, 5))}};
  }
  void run(Rig& r) {
    const TensorView out = r.floats(forward.q.shape), lse = r.floats({75, 4}),
                     sinks = r.floats({4});
    attention(shape, segments, forward.q, sinks, out, lse, r.stream);
    forward.out = out;
    forward.log_sum_exp = lse;
  }
};

std::vector<Operation> attention_and_vocabulary() {
  return {
      {"attention", [](Rig& r) { Packed(r).run(r); }},
      {"attention_backward",
       [](Rig& r) {
         Packed p(r);
         p.run(r);
         attention_backward(p.shape, p.segments, p.forward, r.floats({75, 4, 16}),
                            r.floats({75, 4, 16}), r.floats({75, 2, 16}), r.floats({75, 2, 16}),
                            r.stream);
       }},
      {"attention_sink_gradient",
       [](Rig& r) {
         Packed p(r);
         p.run(r);
         attention_sink_gradient(p.shape, r.floats({4}), p.forward, r.floats({75, 4, 16}),
                                 r.floats({4}), r.stream);
       }},
      {"store_kv",  // read back through a table of blocks
       [](Rig& r) {
         const TensorView keys = r.halves({3, 64 * 32}), values = r.halves({3, 64 * 32});
         const int64_t stride = row_bytes(DType::kBF16, 64 * 32);
         store_kv({keys, values, stride}, r.of(std::vector<int64_t>{128, 0, 129}),
                  r.floats({3, 2, 16}), r.floats({3, 2, 16}), r.stream);
         const AttentionSegment segment{0,
                                        1,
                                        64,
                                        {.keys = keys,
                                         .values = values,
                                         .block_stride_bytes = stride,
                                         .blocks = r.of(std::vector<int32_t>{2, 0}),
                                         .layout = KvLayout::kHeads,
                                         .end = 65}};
         attention({4, 2, 16, 0}, {&segment, 1}, r.floats({1, 4, 16}), {}, r.floats({1, 4, 16}), {},
                   r.stream);
       }},
      {"token_log_probability",
       [](Rig& r) {
         token_log_probability(r.floats({4, 13}), r.of(kTargets), r.floats({4}), r.floats({4}),
                               r.floats({4}), r.stream);
       }},
      {"log_probability_backward",
       [](Rig& r) {
         log_probability_backward(r.floats({4, 13}), r.of(kTargets), r.floats({4}), r.floats({4}),
                                  r.stream);
       }},
  };
}

std::vector<Operation> norms_and_elements() {
  return {
      {"rms_norm",
       [](Rig& r) {
         rms_norm(r.floats({9, 40}), r.floats({40}), 1e-5, r.floats({9, 40}), r.floats({9}),
                  r.stream);
       }},
      {"rms_norm_backward",
       [](Rig& r) {
         rms_norm_backward(r.floats({9, 40}), r.floats({40}), r.floats({9}), r.floats({9, 40}),
                           r.floats({9, 40}), Write::kAdd, r.floats({40}), r.stream);
       }},
      {"head_norm_rope",
       [](Rig& r) {
         head_norm_rope(r.floats({9, 2, 16}), r.floats({16}), 1e-5, {r.floats({8})},
                        r.indices(9, 5000), r.floats({9, 2, 16}), r.floats({9, 2}), r.stream);
       }},
      {"head_norm_rope_backward",
       [](Rig& r) {
         head_norm_rope_backward(r.floats({9, 2, 16}), r.floats({16}), {r.floats({8})},
                                 r.indices(9, 5000), r.floats({9, 2}), r.floats({9, 2, 16}),
                                 r.floats({9, 2, 16}), r.floats({16}), r.stream);
       }},
      {"head_rope",
       [](Rig& r) {
         head_rope(r.floats({9, 2, 16}), {r.floats({8}), 1.25}, r.indices(9, 5000),
                   r.floats({9, 2, 16}), r.stream);
       }},
      {"head_rope_backward",
       [](Rig& r) {
         head_rope_backward(r.floats({9, 2, 16}), {r.floats({8}), 1.25}, r.indices(9, 5000),
                            r.floats({9, 2, 16}), r.stream);
       }},
      {"swiglu",
       [](Rig& r) {
         swiglu(r.floats({9, 40}), r.floats({9, 40}), {.limit = 1}, r.floats({9, 40}), r.stream);
       }},
      {"swiglu_backward",
       [](Rig& r) {
         swiglu_backward(r.floats({9, 40}), r.floats({9, 40}),
                         {.limit = 1, .alpha = 1.7, .offset = 1}, r.floats({9, 40}),
                         r.floats({9, 40}), r.floats({9, 40}), r.stream);
       }},
      {"widen",
       [](Rig& r) {
         widen(r.halves({9, 40}), r.floats({9, 40}), r.stream);
       }},
      {"round_to_bf16",
       [](Rig& r) {
         round_to_bf16(r.floats({9, 40}), r.halves({9, 40}), r.stream);
       }},
      {"fill_normal", [](Rig& r) { fill_normal(r.floats({99}), {.seed = 3}, r.stream); }},
      {"fill_uniform", [](Rig& r) { fill_uniform(r.floats({99}), {.seed = 3}, r.stream); }},
      {"scale_by", [](Rig& r) { scale_by(0.3f, r.floats({99}), r.stream); }},
      {"squares_by_chunk",
       [](Rig& r) {
         const ConstTensorView read = r.floats({99});
         std::vector<double> sums(static_cast<size_t>(squares_chunk_count(99)));
         squares_by_chunk({&read, 1}, sums, r.stream);
         r.of(sums);
       }},
  };
}

std::vector<Operation> rows_and_sums() {
  return {
      {"embedding",
       [](Rig& r) {
         embedding({r.halves({20, 33})}, r.indices(50, 20), r.floats({50, 33}), r.stream);
       }},
      {"embedding_backward",
       [](Rig& r) {
         embedding_backward(r.indices(50, 20), r.floats({50, 33}), r.floats({20, 33}), r.stream);
       }},
      {"gather_rows",
       [](Rig& r) {
         gather_rows(r.floats({20, 33}), r.indices(50, 20), r.floats({50, 33}), r.stream);
       }},
      {"scatter_rows",
       [](Rig& r) {
         scatter_rows(r.floats({3, 33}), r.of(std::vector<int32_t>{4, 0, 2}), r.floats({5, 33}),
                      r.stream);
       }},
      {"compact_rows",
       [](Rig& r) {
         compact_rows(r.floats({5, 33}), r.of(std::vector<int32_t>{0, 2, 4}), r.stream);
       }},
      {"add_to",
       [](Rig& r) {
         add_to(r.floats({9, 40}), r.floats({9, 40}), r.stream);
       }},
      {"copy_to",
       [](Rig& r) {
         copy_to(r.halves({9, 40}), r.halves({9, 40}), r.stream);
       }},
      {"zero",
       [](Rig& r) {
         zero(r.halves({9, 40}), r.stream);
       }},
      {"fill",
       [](Rig& r) {
         fill(r.floats({9, 40}), 2, r.stream);
       }},
      {"concat_columns",
       [](Rig& r) {
         concat_columns(r.floats({9, 4}), r.floats({9, 7}), r.floats({9, 11}), r.stream);
       }},
      {"split_columns",
       [](Rig& r) {
         split_columns(r.floats({9, 11}), r.floats({9, 4}), r.floats({9, 7}), r.stream);
       }},
      {"add_squares",
       [](Rig& r) {
         add_squares(r.floats({21, 5}), r.of(kGroups), r.of({4, 5}, std::vector<double>(20, 0.5)),
                     r.stream);
       }},
      {"add_bias",
       [](Rig& r) {
         add_bias(r.floats({40}), r.floats({9, 40}), r.stream);
       }},
      {"bias_gradient",
       [](Rig& r) {
         bias_gradient(r.floats({9, 40}), r.floats({40}), r.stream);
       }},
      {"add_grouped_bias",
       [](Rig& r) {
         add_grouped_bias(r.floats({4, 5}), r.of(kGroups), r.floats({21, 5}), r.stream);
       }},
      {"grouped_bias_gradient",
       [](Rig& r) {
         grouped_bias_gradient(r.of(kGroups), r.floats({21, 5}), r.floats({4, 5}), r.stream);
       }},
      {"add_sum",
       [](Rig& r) { add_sum(r.floats({99}), r.of(std::vector<double>{0.5}), r.stream); }},
  };
}

const RouterFacts kFacts{.expert_count = 8, .experts_per_token = 3};
const std::vector<int32_t> kExperts = {0, 1, 5, 2, 5, 7, 0, 5, 6, 1, 2, 3};  // of 4 tokens

struct Dispatched : ExpertDispatch {
  explicit Dispatched(Rig& r) {
    offsets = r.of(std::vector<int64_t>(9));
    row_token = r.of(std::vector<int32_t>(12));
    row_of_slot = r.of(std::vector<int32_t>(12));
    dispatch_experts(r.of(kExperts), kFacts, *this, r.stream);
  }
};

std::vector<Operation> routing() {
  return {
      {"route",
       [](Rig& r) {
         route(kFacts, r.floats({4, 8}), r.floats({8}), r.floats({4, 8}), r.of(kExperts),
               r.floats({4, 3}), r.stream);
       }},
      {"route_backward",
       [](Rig& r) {
         route_backward(kFacts, r.floats({4, 8}), r.of(kExperts), r.floats({4, 3}),
                        r.floats({4, 8}), r.stream);
       }},
      {"sequence_balance",
       [](Rig& r) {
         sequence_balance(kFacts, r.floats({4, 8}), r.of(kExperts),
                          r.of(std::vector<int64_t>{0, 1, 4}), {.coefficient = 0.1, .scale = 2},
                          r.of(std::vector<double>{1}), r.floats({4, 8}), r.stream);
       }},
      {"count_experts",
       [](Rig& r) { count_experts(r.of(kExperts), r.of(std::vector<int64_t>(8, 2)), r.stream); }},
      {"move_router_bias",
       [](Rig& r) {
         move_router_bias(r.of(std::vector<int64_t>{1, 2, 3}), 0.1, r.floats({3}), r.stream);
       }},
      {"dispatch_experts", [](Rig& r) { Dispatched{r}; }},
      {"select_tokens",
       [](Rig& r) {
         select_tokens(Dispatched(r), 1, 2, r.of(std::vector<int64_t>(9)),
                       r.of(std::vector<int32_t>(6)), r.stream);
       }},
      {"combine_experts",
       [](Rig& r) {
         combine_experts(Dispatched(r), r.floats({12, 20}), r.floats({4, 3}), r.floats({4, 20}),
                         r.floats({4, 20}), r.stream);
       }},
      {"combine_experts_backward",
       [](Rig& r) {
         combine_experts_backward(Dispatched(r), r.floats({12, 20}), r.floats({4, 3}),
                                  r.floats({4, 20}), r.floats({12, 20}), r.floats({4, 3}),
                                  r.stream);
       }},
      {"gather_experts_backward",
       [](Rig& r) {
         gather_experts_backward(Dispatched(r), r.floats({12, 20}), r.floats({4, 20}), r.stream);
       }},
  };
}

std::vector<Operation> updates() {
  return {
      {"adamw",
       [](Rig& r) {
         const AdamWTensor tensor{.weight = r.floats({40}),
                                  .gradient = r.floats({40}),
                                  .first = r.floats({40}),
                                  .second = r.of(std::vector<float>(40, 0.5f)),
                                  .weight_decay = 0.1};
         adamw({&tensor, 1}, {.learning_rate = 0.1}, r.stream);
       }},
      {"muon",
       [](Rig& r) {
         const Shape shape{2, 20, 12};
         const MuonTensor tensor{.weight = r.floats(shape),
                                 .gradient = r.floats(shape),
                                 .momentum = r.floats(shape),
                                 .weight_decay = 0.1};
         const TensorView room = r.of(std::vector<float>(static_cast<size_t>(
             muon_workspace_floats(shape, r.stream.host_threads().thread_count()))));
         muon({&tensor, 1}, {.learning_rate = 0.1}, room, r.stream);
       }},
      {"orthogonalise",
       [](Rig& r) {
         const Shape shape{9, 20};
         const TensorView x = r.floats(shape);
         orthogonalise(x, 5,
                       r.of(std::vector<float>(static_cast<size_t>(
                           muon_workspace_floats(shape, r.stream.host_threads().thread_count())))),
                       r.stream);
         const ConstTensorView read = x;
         r.of(std::vector<double>{sum_of_squares({&read, 1}, r.stream)});
       }},
  };
}

std::vector<Operation> operations() {
  std::vector<Operation> all;
  for (const auto& part : {matrix_products(), attention_and_vocabulary(), norms_and_elements(),
                           rows_and_sums(), routing(), updates()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

TEST(DeviceSeam, EveryOperationGivesTheSameBitsBehindTheFence) {
  for (const Operation& operation : operations()) {
    SCOPED_TRACE(operation.name);
    CpuStream cpu(2);
    FencedStream fenced(2);
    Rig plain(cpu), behind(fenced);
    operation.run(plain);
    operation.run(behind);
    EXPECT_TRUE(plain.bytes() == behind.bytes());
  }
}

// The operations that the headers of this folder declare: functions that end in `Stream& stream);`.
std::set<std::string> declared() {
  std::set<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(Path(DURE_SOURCE_DIR) / "src" / "kernels")) {
    if (entry.path().extension() != ".h") continue;
    const std::string text = read_file(entry.path()), end = "Stream& stream);";
    for (size_t at = text.find(end); at != std::string::npos; at = text.find(end, at + 1)) {
      if (std::isalpha(static_cast<unsigned char>(text[at - 1]))) continue;  // of the CPU alone
      const size_t name = text.rfind("\nvoid ", at) + 6;
      names.insert(text.substr(name, text.find('(', name) - name));
    }
  }
  return names;
}

TEST(DeviceSeam, NoOperationIsLeftOut) {
  std::set<std::string> tested;
  for (const Operation& operation : operations()) tested.insert(operation.name);
  EXPECT_EQ(tested, declared());
}

}  // namespace
}  // namespace dure
