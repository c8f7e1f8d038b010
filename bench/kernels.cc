// How near do the kernels between the matrix products come to the machine's own limits?
//
//   bench_kernels [seconds a line, default 0.2] [threads, default all]
//   [attention|decode|prefill|rows|router|vocabulary|all]
//
// Prints the measured peaks (kernels/peak.h), then a line a kernel at the shapes of training (T =
// 4096 rows) and decoding: time, ns a row, and GB/s of what must move at least once (share of the
// copy peak) or GFLOP/s of what attention must multiply: visible pairs only (share of the fma
// peak). Each figure is the best run of its time; of one thread, by the time it had of the
// processor.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/isa.h"
#include "kernels/norm.h"
#include "kernels/peak.h"
#include "kernels/router.h"
#include "kernels/rows.h"
#include "tensor/buffer.h"
#include "tensor/cpu_stream.h"
#include "timing.h"

namespace dure {
namespace {

template <typename T>
ConstTensorView list(const std::vector<T>& values) {
  return host_view(std::span<const T>(values));
}
template <typename T>
TensorView list(std::vector<T>& values) {
  return host_view(values.data(), {std::ssize(values)});
}

struct Tensor {
  Buffer buffer;
  TensorView view;
  explicit Tensor(Shape shape, double scale = 1, DType dtype = DType::kF32)
      : buffer(Buffer::of(dtype, shape)), view(buffer.view(dtype, shape)) {
    Rng rng(7, static_cast<uint64_t>(shape.elements()));
    for (int64_t i = 0; i < shape.elements(); ++i) {
      const auto value =
          static_cast<float>((static_cast<double>(rng.next_u32()) * 0x1p-31 - 1) * scale);
      if (is_block(dtype)) continue;  // zeros: as quick as any
      if (dtype == DType::kF32) {
        view.f32()[i] = value;
      } else {
        static_cast<uint16_t*>(view.data)[i] =
            dtype == DType::kF16 ? f32_to_f16(value) : f32_to_bf16(value);
      }
    }
  }
};

struct Bench {
  CpuStream stream;
  double seconds;
  MachinePeak peak;

  // One thread is timed by its own time: others use the machine too.
  double (*clock() const)() { return stream.thread_count() == 1 ? thread_s : now_s; }

  void moved(const std::string& name, int64_t rows, double bytes,
             const std::function<void()>& run) const {
    const double time = best_s(seconds, run, clock()), rate = bytes / time * 1e-9;
    std::printf("%-52s %9.1f us %9.1f ns/row %7.1f GB/s    %5.1f %% of copying\n", name.c_str(),
                time * 1e6, time * 1e9 / static_cast<double>(rows), rate,
                100 * rate / peak.copy_gbytes_s);
  }
  void multiplied(const std::string& name, int64_t rows, double flops,
                  const std::function<void()>& run) const {
    const double time = best_s(seconds, run, clock()), rate = flops / time * 1e-9;
    std::printf("%-52s %9.1f us %9.1f ns/row %7.1f GFLOP/s %5.1f %% of the peak\n", name.c_str(),
                time * 1e6, time * 1e9 / static_cast<double>(rows), rate,
                100 * rate / peak.fma_gflops);
  }

  void attention_training(const AttentionShape& s, const std::vector<int64_t>& documents) {
    int64_t rows = 0;
    double pairs = 0;
    for (const int64_t length : documents) {
      for (int64_t i = 0; i < length; ++i)
        pairs +=
            static_cast<double>(s.window_tokens > 0 ? std::min(i + 1, s.window_tokens) : i + 1);
      rows += length;
    }
    const Shape query{rows, s.head_count, s.head_width}, key{rows, s.kv_head_count, s.head_width};
    const Tensor q(query), k(key), v(key), dout(query), out(query), dq(query), dk(key), dv(key),
        lse({rows, s.head_count});
    std::vector<AttentionSegment> segments;
    int64_t first = 0;
    for (const int64_t length : documents) {
      segments.push_back({first, length, 0,
                          contiguous_kv(k.view.rows(first, length), v.view.rows(first, length))});
      first += length;
    }
    const std::string name =
        fmt::format("attention Q{} G{} H{} W{}, {} documents", s.head_count, s.kv_head_count,
                    s.head_width, s.window_tokens, documents.size());
    const double flops = 4 * pairs * static_cast<double>(s.head_count * s.head_width);
    multiplied(name, rows, flops,
               [&] { attention(s, segments, q.view, {}, out.view, lse.view, stream); });
    multiplied("  backward", rows, 2.5 * flops, [&] {
      attention_backward(s, segments, {q.view, k.view, v.view, out.view, lse.view}, dout.view,
                         dq.view, dk.view, dv.view, stream);
    });
  }

  // One row of each of `count` sequences, whose cache holds `length` positions (of which a window
  // sees W).
  void attention_decode(const AttentionShape& s, int64_t count, int64_t length,
                        DType dtype = DType::kF32) {
    const int64_t width = s.kv_head_count * s.head_width,
                  kept = s.window_tokens > 0 ? std::min(length, (s.window_tokens + 127) / 64 * 64)
                                             : length;
    const int64_t first = (length - kept) / 64 * 64;
    const Tensor q({count, s.head_count, s.head_width}), out({count, s.head_count, s.head_width}),
        k({count, (length - first + 63) / 64 * 64, width}, 1, dtype), v(k.view.shape, 1, dtype);
    std::vector<AttentionSegment> segments;
    const int64_t blocks = (length - first + 63) / 64;
    std::vector<int32_t> table(static_cast<size_t>(count * blocks));
    std::iota(table.begin(), table.end(), 0);
    for (int64_t i = 0; i < count; ++i) {
      segments.push_back({i,
                          1,
                          length - 1,
                          {.keys = k.view,
                           .values = v.view,
                           .block_stride_bytes = 64 * row_bytes(dtype, width),
                           .blocks = list(table).rows(i * blocks, blocks),
                           .first_block = first / 64,
                           .layout = KvLayout::kHeads,
                           .begin = first,
                           .end = length}});
    }
    const int64_t seen = s.window_tokens > 0 ? std::min(length, s.window_tokens) : length;
    moved(fmt::format("decode {} x 1 row, {} {} keys, Q{} G{} H{} W{}", count, length,
                      dtype_info(dtype).name, s.head_count, s.kv_head_count, s.head_width,
                      s.window_tokens),
          count, 2.0 * static_cast<double>(count * seen * row_bytes(dtype, width)),
          [&] { attention(s, segments, q.view, {}, out.view, {}, stream); });
  }

  // A chunk of `rows` of one sequence behind `depth` positions in its cache.
  void attention_prefill(const AttentionShape& s, int64_t rows, int64_t depth, DType dtype) {
    const int64_t width = s.kv_head_count * s.head_width, end = depth + rows;
    const Shape query{rows, s.head_count, s.head_width};
    const Tensor q(query), out(query), k({(end + 63) / 64 * 64, width}, 1, dtype),
        v(k.view.shape, 1, dtype);
    const AttentionSegment segment{0,
                                   rows,
                                   depth,
                                   {.keys = k.view,
                                    .values = v.view,
                                    .block_stride_bytes = 64 * row_bytes(dtype, width),
                                    .layout = KvLayout::kHeads,
                                    .end = end}};
    double pairs = 0;
    for (int64_t p = depth; p < end; ++p)
      pairs += static_cast<double>(s.window_tokens > 0 ? std::min(p + 1, s.window_tokens) : p + 1);
    multiplied(fmt::format("prefill {} rows at {}, {} keys, Q{} G{} H{} W{}", rows, depth,
                           dtype_info(dtype).name, s.head_count, s.kv_head_count, s.head_width,
                           s.window_tokens),
               rows, 4 * pairs * static_cast<double>(s.head_count * s.head_width), [&] {
                 attention(s, {&segment, 1}, q.view, {}, out.view, {}, stream);
               });
  }

  void rows_of(int64_t T, int64_t C) {
    const double bytes = 4.0 * static_cast<double>(T * C);
    const Tensor x({T, C}), dy({T, C}), y({T, C}), dx({T, C}), w({C}), dw({C}), r({T, 1});
    moved(fmt::format("rms_norm [{}, {}]", T, C), T, 2 * bytes,
          [&] { rms_norm(x.view, w.view, 1e-5, y.view, r.view, stream); });
    moved("  backward (added)", T, 4 * bytes, [&] {
      rms_norm_backward(x.view, w.view, r.view, dy.view, dx.view, Write::kAdd, dw.view, stream);
    });
    moved(fmt::format("swiglu [{}, {}]", T, C), T, 3 * bytes,
          [&] { swiglu(x.view, dy.view, {}, y.view, stream); });
    moved("  backward", T, 5 * bytes,
          [&] { swiglu_backward(x.view, dy.view, {}, y.view, dx.view, y.view, stream); });
    moved(fmt::format("add_to [{}, {}]", T, C), T, 3 * bytes,
          [&] { add_to(x.view, dx.view, stream); });
    std::vector<int32_t> ids;
    Rng rng(1);
    for (int64_t t = 0; t < T; ++t) ids.push_back(static_cast<int32_t>(rng.below(4096)));
    const Tensor table({4096, C});
    moved(fmt::format("embedding [{}, {}] of 4096", T, C), T, 2 * bytes,
          [&] { embedding({table.view}, list(ids), y.view, stream); });
    moved("  backward", T, 3 * bytes,
          [&] { embedding_backward(list(ids), y.view, table.view, stream); });
  }

  void heads_of(int64_t T, int64_t N, int64_t H) {
    const double bytes = 4.0 * static_cast<double>(T * N * H);
    const Tensor x({T, N, H}), y({T, N, H}), dy({T, N, H}), dx({T, N, H}), w({H}), dw({H}),
        r({T, N});
    std::vector<float> frequency(static_cast<size_t>(H / 2), 0.01f);
    std::vector<int32_t> positions;
    for (int64_t t = 0; t < T; ++t) positions.push_back(static_cast<int32_t>(t % 1024));
    moved(fmt::format("head_norm_rope [{}, {}, {}]", T, N, H), T, 2 * bytes, [&] {
      head_norm_rope(x.view, w.view, 1e-5, {list(frequency)}, list(positions), y.view, r.view,
                     stream);
    });
    moved("  backward", T, 3 * bytes, [&] {
      head_norm_rope_backward(x.view, w.view, {list(frequency)}, list(positions), r.view, dy.view,
                              dx.view, dw.view, stream);
    });
  }

  void router_of(int64_t T, int64_t E, int64_t K, int64_t D) {
    const RouterFacts f{.expert_count = E, .experts_per_token = K};
    const Tensor logits({T, E}, 3), bias({E}, 0.1), p({T, E}), w({T, K}), dw({T, K}),
        dlogits({T, E});
    std::vector<int32_t> experts(static_cast<size_t>(T * K)), row_token(experts.size()),
        row_of_slot(experts.size());
    std::vector<int64_t> offsets(static_cast<size_t>(E + 1));
    std::vector<int64_t> documents;
    for (int64_t first = 0; first <= T; first += 256) documents.push_back(first);
    double loss = 0;
    moved(fmt::format("route [{}, {}] top {}", T, E, K), T, 8.0 * static_cast<double>(T * E),
          [&] { route(f, logits.view, bias.view, p.view, list(experts), w.view, stream); });
    moved("  backward", T, 8.0 * static_cast<double>(T * E),
          [&] { route_backward(f, p.view, list(experts), dw.view, dlogits.view, stream); });
    moved("  sequence_balance", T, 12.0 * static_cast<double>(T * E), [&] {
      sequence_balance(f, p.view, list(experts), list(documents), {.coefficient = 1e-4},
                       host_view(&loss, {1}), dlogits.view, stream);
    });
    const ExpertDispatch sorted{list(offsets), list(row_token), list(row_of_slot)};
    moved("  dispatch_experts", T, 12.0 * static_cast<double>(T * K),
          [&] { dispatch_experts(list(experts), f, sorted, stream); });
    const Tensor x({T, D}), rows({T * K, D}), drows({T * K, D}), dy({T, D});
    const double bytes = 4.0 * static_cast<double>(T * D);
    moved(fmt::format("  gather_rows to [{}, {}]", T * K, D), T, static_cast<double>(2 * K) * bytes,
          [&] { gather_rows(x.view, list(row_token), rows.view, stream); });
    moved("  combine_experts", T, static_cast<double>(K + 2) * bytes,
          [&] { combine_experts(sorted, rows.view, w.view, x.view, dy.view, stream); });
    moved("  combine backward", T, static_cast<double>(2 * K + 1) * bytes, [&] {
      combine_experts_backward(sorted, rows.view, w.view, dy.view, drows.view, dw.view, stream);
    });
    moved("  gather backward", T, static_cast<double>(K + 2) * bytes,
          [&] { gather_experts_backward(sorted, drows.view, dy.view, stream); });
  }

  void vocabulary_of(int64_t R, int64_t V) {
    const double bytes = 4.0 * static_cast<double>(R * V);
    const Tensor logits({R, V}, 5), p({R}), lse({R}), h({R});
    const std::vector<int32_t> targets(static_cast<size_t>(R), 1);
    const std::vector<float> coefficient(static_cast<size_t>(R), 1e-3f);
    moved(fmt::format("token_log_probability [{}, {}]", R, V), R, bytes,
          [&] { token_log_probability(logits.view, list(targets), p.view, lse.view, {}, stream); });
    moved("  with entropy", R, bytes, [&] {
      token_log_probability(logits.view, list(targets), p.view, lse.view, h.view, stream);
    });
    moved("  backward", R, 2 * bytes, [&] {
      log_probability_backward(logits.view, list(targets), lse.view, list(coefficient), stream);
    });
  }
};

std::vector<int64_t> packed_documents() {  // 4096 rows in documents of 30 to 1024.
  return {1024, 30, 517, 64, 300, 129, 45, 700, 88, 256, 411, 33, 199, 300};
}

void training_attention(Bench& b) {
  for (const int64_t window : {0, 64}) {
    b.attention_training({8, 2, 32, window}, packed_documents());
    b.attention_training({4, 2, 32, window}, packed_documents());
    b.attention_training({8, 4, 64, window}, packed_documents());
    b.attention_training({4, 1, 16, window}, packed_documents());
  }
  b.attention_training({8, 2, 32, 0}, {4096});
  b.attention_training({64, 8, 128, 128}, {1024});
}

int run(int argc, char** argv) {
  Bench b{CpuStream(argc > 2 ? std::atoi(argv[2]) : 0), argc > 1 ? std::atof(argv[1]) : 0.2, {}};
  b.peak = measure_peak(b.stream, 2);
  std::printf(
      "isa %s, threads %d: fma %.1f GFLOP/s a thread, %.1f all; read %.1f GB/s, copy %.1f GB/s\n\n",
      isa_name(isa()).data(), b.stream.thread_count(), b.peak.fma_gflops_thread, b.peak.fma_gflops,
      b.peak.read_gbytes_s, b.peak.copy_gbytes_s);
  const std::string part = argc > 3 ? argv[3] : "all";
  const auto wanted = [&](const char* name) { return part == "all" || part == name; };
  if (wanted("attention")) training_attention(b);
  if (wanted("decode")) {
    b.attention_decode({8, 2, 32, 64}, 64, 500);
    b.attention_decode({8, 2, 32, 0}, 64, 500);
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0}) {
      for (const int64_t keys : {512, 2048, 8192})
        b.attention_decode({64, 8, 128, 0}, 1, keys, dtype);
      b.attention_decode({64, 8, 128, 128}, 1, 8192, dtype);
    }
  }
  if (wanted("prefill")) {
    for (const int64_t window : {0, 128}) {
      for (const int64_t depth : {0, 8192}) {
        b.attention_prefill({64, 8, 128, window}, 512, depth, DType::kF32);
        b.attention_prefill({64, 8, 128, window}, 512, depth, DType::kF16);
        b.attention_prefill({64, 8, 128, window}, 512, depth, DType::kQ8_0);
      }
    }
  }
  if (wanted("rows")) {
    b.rows_of(4096, 128);
    b.rows_of(4096, 512);
    b.heads_of(4096, 8, 32);
  }
  if (wanted("router")) {
    b.router_of(4096, 16, 4, 128);
    b.router_of(4096, 128, 8, 512);
  }
  if (wanted("vocabulary")) {
    b.vocabulary_of(1024, 4096);
    b.vocabulary_of(32, 153600);
  }
  return 0;
}

}  // namespace
}  // namespace dure

int main(int argc, char** argv) { return dure::run(argc, argv); }
