// Attention: against its double twin with derived tolerances, gradients by finite differences, and
// the promise of bits: a row alone, any chunking, any store of the keys, any batch, thread count
// and instruction set give the same.
#include "kernels/attention.h"

#include <numeric>

#include "kernels/kernel_testing.h"
#include "kernels/kv_store.h"
#include "kernels/ref/attention.h"
#include "kernels/ref/kv_store.h"

namespace dure {
namespace {

using namespace testing;
using ref::Doubles;

struct Case {
  AttentionShape shape;
  std::vector<int64_t> documents;
  double score_scale = 1;  // of q: large ones make sharp distributions
};

std::vector<Case> cases() {
  return {
      {{1, 1, 16, 0}, {1}},
      {{4, 2, 16, 0}, {1, 2, 63, 64, 65}},
      {{4, 2, 32, 32}, {130, 31, 1, 200}},
      {{8, 2, 32, 64}, {64, 65, 129, 3}},
      {{8, 2, 64, 0}, {150, 70}, 3},
      {{6, 2, 24, 7}, {40, 90}},        // three heads a key head, a width that fills no vector
      {{5, 5, 10, 100}, {99, 101, 7}},  // one head a key head
      {{4, 1, 128, 1}, {70}},           // a window of one: every row sees itself alone
      {{8, 1, 16, 128}, {300}, 5},
      {{2, 1, 16, 0}, {1100}},    // three partitions
      {{8, 2, 16, 100}, {600}},   // windows that straddle two
      {{9, 1, 10, 520}, {1060}},  // a window wider than a partition; rows in groups of 8 and 1
  };
}

struct Inputs {
  Case c;
  int64_t rows = 0;
  Tensor q, k, v, dout, out, lse, dq, dk, dv;
  std::vector<AttentionSegment> segments;

  explicit Inputs(const Case& from)
      : c(from),
        rows(std::accumulate(from.documents.begin(), from.documents.end(), int64_t{0})),
        q(random_tensor(q_shape(), 1, from.score_scale)),
        k(random_tensor(k_shape(), 2)),
        v(random_tensor(k_shape(), 3)),
        dout(random_tensor(q_shape(), 4)),
        out(q_shape()),
        lse(Shape{rows, c.shape.head_count}),
        dq(q_shape()),
        dk(k_shape()),
        dv(k_shape()) {
    int64_t first = 0;
    for (const int64_t length : c.documents) {
      segments.push_back({first, length, 0, view(first, length)});
      first += length;
    }
  }
  Shape q_shape() const { return {rows, c.shape.head_count, c.shape.head_width}; }
  Shape k_shape() const { return {rows, c.shape.kv_head_count, c.shape.head_width}; }
  int64_t key_width() const { return c.shape.kv_head_count * c.shape.head_width; }
  KvView view(int64_t first, int64_t length) const {
    return contiguous_kv(k.view.rows(first, length), v.view.rows(first, length));
  }
  void forward(Stream& stream) {
    attention(c.shape, segments, q.view, {}, out.view, lse.view, stream);
  }
  void backward(Stream& stream) {
    attention_backward(c.shape, segments, {q.view, k.view, v.view, out.view, lse.view}, dout.view,
                       dq.view, dk.view, dv.view, stream);
  }
};

// Truth and tolerance of everything, document by document. The bounds follow the computation: a
// score is a chain of H fused products and a scaling (gamma(H + 3) of the sum of magnitudes); an
// error d of a score moves its exp by d, and the sum's too.
struct Truth {
  Doubles out, lse, dq, dk, dv;
  Doubles out_bound, lse_bound, dq_bound, dk_bound, dv_bound;
};

void add_bounds(const Inputs& in, int64_t first, int64_t length, const ref::AttentionResult& r,
                Truth& t) {
  const AttentionShape& s = in.c.shape;
  const int64_t H = s.head_width, Q = s.head_count, G = s.kv_head_count;
  const double scale = 1 / std::sqrt(static_cast<double>(H));
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t h = 0; h < Q; ++h) {
      const int64_t oldest =
                        s.window_tokens > 0 ? std::max<int64_t>(0, i - s.window_tokens + 1) : 0,
                    n = i + 1 - oldest;
      const int64_t at = ((first + i) * Q + h) * H, g = h * G / Q;
      const float *q = in.q.data() + at, *dout = in.dout.data() + at;
      const double lse = r.log_sum_exp[static_cast<size_t>(i * Q + h)];
      Doubles p, dp, dp_size;
      double score_error = 0, size = std::abs(lse), D = 0, D_size = 0;
      for (int64_t j = oldest; j <= i; ++j) {
        const float *k = in.k.data() + ((first + j) * G + g) * H,
                    *v = in.v.data() + ((first + j) * G + g) * H;
        double score = 0, magnitude = 0, product = 0, product_size = 0;
        for (int64_t c = 0; c < H; ++c) {
          score += double{q[c]} * k[c] * scale;
          magnitude += std::abs(double{q[c]} * k[c]) * scale;
          product += double{dout[c]} * v[c];
          product_size += std::abs(double{dout[c]} * v[c]);
        }
        score_error = std::max(score_error, gamma(H + 4) * magnitude);
        size = std::max(size, std::abs(score));
        p.push_back(std::exp(score - lse));
        dp.push_back(product);
        dp_size.push_back(product_size);
        D += p.back() * product;
        D_size += p.back() * product_size;
      }
      // of one exp(s - maximum), relative
      const double exp_error = score_error + gamma(4) * size + gamma(4);
      // Of a sum: its additions, two roundings a block, and those of merging: two factors within
      // gamma(4) of sizes like the scores', a product and a chain step.
      const auto merges = static_cast<double>(i / kPartitionTokens - oldest / kPartitionTokens);
      const double merge_error = merges * 2 * (gamma(4) * size + gamma(6));
      const double sum_error = exp_error + merge_error + gamma(n + 2 * (n / 64 + 2) + 8);
      const double lse_bound = sum_error + gamma(2) * (size + std::log(static_cast<double>(n)) + 1);
      const double weight_error = score_error + lse_bound + gamma(4) * size + gamma(4);
      t.lse_bound.push_back(lse_bound);
      double D_error = gamma(H + 4) * D_size;
      for (int64_t c = 0; c < H; ++c) {
        double bound = 0;
        for (int64_t j = oldest; j <= i; ++j)
          bound += p[static_cast<size_t>(j - oldest)] *
                   std::abs(in.v.data()[((first + j) * G + g) * H + c]);
        t.out_bound.push_back(
            bound * (exp_error + sum_error + merge_error + gamma(n + 2 * (n / 64 + 2) + 4)) +
            1e-37);
        D_error += std::abs(dout[c]) * t.out_bound.back();
      }
      for (int64_t j = oldest; j <= i; ++j) {
        const auto x = static_cast<size_t>(j - oldest);
        const double ds_size = scale * p[x] * (std::abs(dp[x]) + std::abs(D));
        const double ds_error = ds_size * (weight_error + gamma(4)) +
                                scale * p[x] * (gamma(H + 2) * dp_size[x] + D_error);
        for (int64_t c = 0; c < H; ++c) {
          const auto key = static_cast<size_t>(((first + j) * G + g) * H + c);
          t.dq_bound[static_cast<size_t>(at + c)] +=
              (ds_error + gamma(n + 2) * ds_size) * std::abs(in.k.data()[key]) + 1e-37;
          t.dk_bound[key] +=
              (ds_error + gamma((length - j) * (Q / G) + 2) * ds_size) * std::abs(q[c]) + 1e-37;
          t.dv_bound[key] +=
              p[x] * std::abs(dout[c]) * (weight_error + gamma((length - j) * (Q / G) + 2)) + 1e-37;
        }
      }
    }
  }
}

Truth truth_of(const Inputs& in) {
  Truth t;
  t.dq_bound.resize(static_cast<size_t>(in.q.view.elements()));
  t.dk_bound.resize(static_cast<size_t>(in.k.view.elements()));
  t.dv_bound = t.dk_bound;
  const auto append = [](Doubles& to, const Doubles& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  for (const AttentionSegment& s : in.segments) {
    const auto part = [&](const Tensor& x) {
      return ref::widen(x.view.rows(s.first_row, s.row_count));
    };
    const auto r = ref::attention(in.c.shape, part(in.q), part(in.k), part(in.v));
    const auto d =
        ref::attention_backward(in.c.shape, part(in.q), part(in.k), part(in.v), part(in.dout));
    append(t.out, r.out);
    append(t.lse, r.log_sum_exp);
    append(t.dq, d.dq);
    append(t.dk, d.dk);
    append(t.dv, d.dv);
    add_bounds(in, s.first_row, s.row_count, r, t);
  }
  return t;
}

std::string name_of(const Case& c) {
  return fmt::format("Q{} G{} H{} W{}", c.shape.head_count, c.shape.kv_head_count,
                     c.shape.head_width, c.shape.window_tokens);
}

TEST(Attention, EqualsItsTwinWithinDerivedBounds) {
  const Isa before = isa();
  for (const Isa now : isas()) {
    set_isa(now);
    CpuStream stream(2);
    const std::string title(isa_name(now));
    Comparison out(title + " out"), lse(title + " log_sum_exp"), dq(title + " dq"),
        dk(title + " dk"), dv(title + " dv");
    for (const Case& c : cases()) {
      Inputs in(c);
      in.forward(stream);
      in.backward(stream);
      const Truth t = truth_of(in);
      out.add(in.out, t.out, t.out_bound, name_of(c));
      lse.add(in.lse, t.lse, t.lse_bound, name_of(c));
      dq.add(in.dq, t.dq, t.dq_bound, name_of(c));
      dk.add(in.dk, t.dk, t.dk_bound, name_of(c));
      dv.add(in.dv, t.dv, t.dv_bound, name_of(c));
    }
  }
  set_isa(before);
}

TEST(Attention, TwinsGradientsAreThoseOfFiniteDifferences) {
  for (const Case& c : std::vector<Case>{{{4, 2, 6, 0}, {9}}, {{3, 1, 4, 3}, {11}}}) {
    const Inputs in(c);
    const Doubles q = in.q.wide(), k = in.k.wide(), v = in.v.wide(), dout = in.dout.wide();
    const auto d = ref::attention_backward(c.shape, q, k, v, dout);
    const auto loss = [&](const Doubles& a, const Doubles& b, const Doubles& x) {
      return dot(ref::attention(c.shape, a, b, x).out, dout);
    };
    expect_gradient(
        q, d.dq, [&](const Doubles& x) { return loss(x, k, v); }, "dq");
    expect_gradient(
        k, d.dk, [&](const Doubles& x) { return loss(q, x, v); }, "dk");
    expect_gradient(
        v, d.dv, [&](const Doubles& x) { return loss(q, k, x); }, "dv");
  }
}

// Sinks of every size against the scores: far below, beside and far above them.
Tensor sinks_of(const AttentionShape& shape) {
  Tensor sinks = random_tensor({shape.head_count}, 9, 2);
  sinks.data()[0] = shape.head_count > 1 ? 30 : 3;
  return sinks;
}

// The bounds are those without sinks: each weight shrinks, and its error with it; the sink is one
// more term of the sum.
TEST(AttentionSinks, EqualTheTwinWithTheirGradient) {
  CpuStream stream(2);
  Comparison out("sinks out"), lse("sinks log_sum_exp"), dq("sinks dq"), dk("sinks dk"),
      dv("sinks dv"), ds("dsinks");
  for (const Case& c : cases()) {
    Inputs in(c);
    const Tensor sinks = sinks_of(c.shape);
    Tensor dsinks = filled({c.shape.head_count}, 0.25f);
    Truth t = truth_of(in);
    attention(c.shape, in.segments, in.q.view, sinks.view, in.out.view, in.lse.view, stream);
    in.backward(stream);
    attention_sink_gradient(c.shape, sinks.view,
                            {in.q.view, in.k.view, in.v.view, in.out.view, in.lse.view},
                            in.dout.view, dsinks.view, stream);
    Doubles dsink_truth(static_cast<size_t>(c.shape.head_count), 0.25), dsink_bound = dsink_truth;
    Truth with;
    for (const AttentionSegment& s : in.segments) {
      const auto part = [&](const Tensor& x) {
        return ref::widen(x.view.rows(s.first_row, s.row_count));
      };
      const auto r = ref::attention(c.shape, part(in.q), part(in.k), part(in.v), 0, sinks.wide());
      const auto d = ref::attention_backward(c.shape, part(in.q), part(in.k), part(in.v),
                                             part(in.dout), 0, sinks.wide());
      const auto append = [](Doubles& to, const Doubles& from) {
        to.insert(to.end(), from.begin(), from.end());
      };
      append(with.out, r.out);
      append(with.lse, r.log_sum_exp);
      append(with.dq, d.dq);
      append(with.dk, d.dk);
      append(with.dv, d.dv);
      for (size_t h = 0; h < dsink_truth.size(); ++h) dsink_truth[h] += d.dsinks[h];
    }
    // A sink of 30 rounds the differences of scores to it by gamma(2) of its size.
    const double more = gamma(8) * 40;
    for (double& b : t.lse_bound) b += more;
    for (Doubles* bounds : {&t.out_bound, &t.dq_bound, &t.dk_bound, &t.dv_bound})
      for (double& b : *bounds) b = 2 * b + more;
    for (size_t i = 0; i < t.lse_bound.size(); ++i) {
      double size = 0;
      const auto width = static_cast<size_t>(c.shape.head_width);
      for (size_t h = i * width; h < (i + 1) * width; ++h)
        size += std::abs(double{in.dout.data()[h]} * in.out.data()[h]);
      dsink_bound[i % dsink_bound.size()] +=
          size * (2 * t.lse_bound[i] + gamma(c.shape.head_width + in.rows + 8)) + 1e-6;
    }
    for (double& b : dsink_bound) b -= 0.25 - 1e-6;
    out.add(in.out, with.out, t.out_bound, name_of(c));
    lse.add(in.lse, with.lse, t.lse_bound, name_of(c));
    dq.add(in.dq, with.dq, t.dq_bound, name_of(c));
    dk.add(in.dk, with.dk, t.dk_bound, name_of(c));
    dv.add(in.dv, with.dv, t.dv_bound, name_of(c));
    ds.add(dsinks, dsink_truth, dsink_bound, name_of(c));
  }
}

TEST(AttentionSinks, TwinsGradientsAreThoseOfFiniteDifferences) {
  const Case c{{4, 2, 6, 3}, {9}};
  const Inputs in(c);
  const Doubles q = in.q.wide(), k = in.k.wide(), v = in.v.wide(), dout = in.dout.wide(),
                sinks = random_tensor({4}, 9).wide();
  const auto d = ref::attention_backward(c.shape, q, k, v, dout, 0, sinks);
  const auto loss = [&](const Doubles& a, const Doubles& b, const Doubles& x, const Doubles& s) {
    return dot(ref::attention(c.shape, a, b, x, 0, s).out, dout);
  };
  expect_gradient(
      q, d.dq, [&](const Doubles& x) { return loss(x, k, v, sinks); }, "dq");
  expect_gradient(
      k, d.dk, [&](const Doubles& x) { return loss(q, x, v, sinks); }, "dk");
  expect_gradient(
      v, d.dv, [&](const Doubles& x) { return loss(q, k, x, sinks); }, "dv");
  expect_gradient(
      sinks, d.dsinks, [&](const Doubles& x) { return loss(q, k, v, x); }, "dsinks");
}

// Threads share the partitions of one row; a chunk or a row alone is the whole pass.
TEST(AttentionSinks, SameBitsForThreadsInstructionSetsAndRowsAlone) {
  for (const Case& c : std::vector<Case>{{{8, 2, 16, 0}, {1400}}, {{4, 2, 16, 100}, {600, 3}}}) {
    Inputs in(c);
    const Tensor sinks = sinks_of(c.shape);
    Tensor dsinks({c.shape.head_count});
    expect_same_everywhere(name_of(c), [&](Stream& stream) {
      std::fill_n(dsinks.data(), c.shape.head_count, 0.0f);
      attention(c.shape, in.segments, in.q.view, sinks.view, in.out.view, in.lse.view, stream);
      attention_sink_gradient(c.shape, sinks.view,
                              {in.q.view, in.k.view, in.v.view, in.out.view, in.lse.view},
                              in.dout.view, dsinks.view, stream);
      std::vector<float> all = in.out.values();
      for (const Tensor* t : {&in.lse, &dsinks})
        all.insert(all.end(), t->data(), t->data() + t->view.elements());
      return all;
    });
    const int64_t length = c.documents[0], last = length - 1;
    const AttentionSegment newest{0, 1, last, in.view(0, length)};
    Tensor out(Shape{1, c.shape.head_count, c.shape.head_width});
    CpuStream many(3);
    attention(c.shape, {&newest, 1}, in.q.view.rows(last, 1), sinks.view, out.view, {}, many);
    const auto at = last * c.shape.head_count * c.shape.head_width;
    expect_same_bits({in.out.data() + at, in.out.data() + at + out.view.elements()}, out.values(),
                     "row alone");
  }
}

TEST(Attention, SameBitsForThreadsAndInstructionSets) {
  for (const Case& c : cases()) {
    Inputs in(c);
    expect_same_everywhere(name_of(c), [&](Stream& stream) {
      in.forward(stream);
      in.backward(stream);
      std::vector<float> all;
      for (const Tensor* t : {&in.out, &in.lse, &in.dq, &in.dk, &in.dv})
        all.insert(all.end(), t->data(), t->data() + t->view.elements());
      return all;
    });
  }
}

TEST(Attention, LongDocumentSplitAmongThreadsKeepsItsBits) {
  Inputs in({{2, 1, 16, 0}, {700}});
  expect_same_everywhere("one document of 700 rows", [&](Stream& stream) {
    in.forward(stream);
    in.backward(stream);
    std::vector<float> all = in.dq.values();
    all.insert(all.end(), in.dk.data(), in.dk.data() + in.dk.view.elements());
    all.insert(all.end(), in.dv.data(), in.dv.data() + in.dv.view.elements());
    return all;
  });
}

// 16 bits and back.
uint16_t narrow(float x, DType dtype) {
  return dtype == DType::kF16 ? f32_to_f16(x) : f32_to_bf16(x);
}
// Q8_0: t of whole blocks along its last dimension.
void round_to(DType dtype, const Tensor& t) {
  if (dtype == DType::kF32) return;
  if (dtype == DType::kQ8_0) {
    const std::vector<float> kept = ref::kept_in_q8_0(t.values());
    std::copy(kept.begin(), kept.end(), t.data());
    return;
  }
  for (int64_t i = 0; i < t.view.elements(); ++i) {
    const uint16_t bits = narrow(t.data()[i], dtype);
    t.data()[i] = dtype == DType::kF16 ? f16_to_f32(bits) : bf16_to_f32(bits);
  }
}

// How a cache keeps its keys.
struct Kept {
  DType dtype = DType::kF32;
  KvLayout layout = KvLayout::kRows;
  std::string text() const {
    return fmt::format("{} {}", dtype_info(dtype).name,
                       layout == KvLayout::kRows ? "rows" : "heads");
  }
};
std::vector<Kept> all_kept(int64_t head_width) {
  std::vector<Kept> out;
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16})
    for (const KvLayout layout : {KvLayout::kRows, KvLayout::kHeads})
      out.push_back({dtype, layout});
  if (head_width % 32 == 0) out.push_back({DType::kQ8_0, KvLayout::kHeads});
  return out;
}

// A sequence stored in blocks of 64 positions scattered over a store: pages, or a ring that has
// forgotten what no row of the chunk may see. What is not resident is NaN: reading it would show.
// Blocks, and rows where they are kept as such, have gaps.
struct Store {
  const Inputs* in;
  Kept kept;
  std::vector<float> keys, values;
  std::vector<uint16_t> half_keys, half_values;
  std::vector<uint8_t> key_bytes, value_bytes;  // of Q8_0
  std::vector<int32_t> table;

  bool by_rows() const { return kept.layout == KvLayout::kRows; }
  int64_t row_stride() const { return in->key_width() + (by_rows() ? 3 : 0); }
  int64_t block_stride() const { return KvView::kTokens * row_stride() + 5; }

  void put(int64_t place, int64_t p) {
    const int64_t G = in->c.shape.kv_head_count, H = in->c.shape.head_width, B = KvView::kTokens,
                  j = p % B;
    for (int64_t g = 0; g < G; ++g) {
      for (int64_t h = 0; h < H; ++h) {
        const int64_t row = place + j * row_stride() + g * H + h, from = (p * G + g) * H + h;
        keys[static_cast<size_t>(by_rows() ? row : place + (g * H + h) * B + j)] =
            in->k.data()[from];
        values[static_cast<size_t>(by_rows() ? row : place + (g * B + j) * H + h)] =
            in->v.data()[from];
      }
    }
  }
  KvView view(int64_t begin, int64_t end) {
    const int64_t first = begin / KvView::kTokens,
                  count = (end + KvView::kTokens - 1) / KvView::kTokens - first;
    scatter(count);
    if (kept.dtype == DType::kQ8_0) return coded_view(begin, end);
    keys.assign(static_cast<size_t>((2 * count + 1) * block_stride()), NAN);
    values = keys;
    for (int64_t p = begin; p < end; ++p)
      put(table[static_cast<size_t>(p / KvView::kTokens - first)] * block_stride(), p);
    half_keys = narrowed(keys);
    half_values = narrowed(values);
    TensorView half_key = list(half_keys), half_value = list(half_values);
    half_key.dtype = half_value.dtype = kept.dtype;
    return {.keys = kept.dtype == DType::kF32 ? list(keys) : half_key,
            .values = kept.dtype == DType::kF32 ? list(values) : half_value,
            .block_stride_bytes = row_bytes(kept.dtype, block_stride()),
            .blocks = list(table),
            .first_block = first,
            .layout = kept.layout,
            .row_stride = by_rows() ? row_stride() : 0,
            .begin = begin,
            .end = end};
  }
  // As store_kv() writes them; what is not resident has scales that are NaN.
  KvView coded_view(int64_t begin, int64_t end) {
    const int64_t first = begin / KvView::kTokens,
                  stride = row_bytes(kept.dtype, KvView::kTokens * in->key_width()) + 34;
    key_bytes.assign((2 * table.size() + 1) * static_cast<size_t>(stride), 0xFF);
    value_bytes = key_bytes;
    TensorView key = list(key_bytes), value = list(value_bytes);
    key.dtype = value.dtype = kept.dtype;
    key.shape = value.shape = Shape{std::ssize(key_bytes) / 34 * 32};
    std::vector<int64_t> places;
    for (int64_t p = begin; p < end; ++p)
      places.push_back(table[static_cast<size_t>(p / KvView::kTokens - first)] * KvView::kTokens +
                       p % KvView::kTokens);
    CpuStream stream(1);
    store_kv({key, value, stride}, list(places), in->k.view.rows(begin, end - begin),
             in->v.view.rows(begin, end - begin), stream);
    return {.keys = key,
            .values = value,
            .block_stride_bytes = stride,
            .blocks = list(table),
            .first_block = first,
            .layout = kept.layout,
            .begin = begin,
            .end = end};
  }
  // `count` of 2 count + 1 places, in no order.
  void scatter(int64_t count) {
    table.resize(static_cast<size_t>(2 * count + 1));
    std::iota(table.begin(), table.end(), 0);
    Rng rng(31, static_cast<uint64_t>(count));
    rng.shuffle(table);
    table.resize(static_cast<size_t>(count));
  }
  std::vector<uint16_t> narrowed(const std::vector<float>& from) const {
    std::vector<uint16_t> to;
    if (kept.dtype != DType::kF32)
      for (const float x : from) to.push_back(narrow(x, kept.dtype));
    return to;
  }
};

// The rows from `first` on in chunks, each of a store that holds what its rows may see.
void in_chunks(const Inputs& in, Kept kept, bool ring, int64_t first, int64_t chunk,
               const Tensor& out, const Tensor& lse, Stream& stream) {
  const AttentionShape& shape = in.c.shape;
  for (; first < in.rows; first += chunk) {
    const int64_t count = std::min(chunk, in.rows - first);
    const int64_t begin =
        ring && shape.window_tokens > 0 ? std::max<int64_t>(0, first - shape.window_tokens + 1) : 0;
    Store store{.in = &in, .kept = kept};
    const AttentionSegment segment{first, count, first, store.view(begin, first + count)};
    attention(shape, {&segment, 1}, in.q.view, {}, out.view, lse.view, stream);
  }
}

TEST(Attention, AnyChunkingAndStoreGivesTheBitsOfTheWholeSequence) {
  for (const AttentionShape& shape : std::vector<AttentionShape>{{4, 2, 32, 0},
                                                                 {4, 2, 32, 32},
                                                                 {2, 2, 16, 100},
                                                                 {3, 1, 24, 5},
                                                                 {8, 1, 64, 64},
                                                                 {6, 2, 96, 70}}) {
    for (const Kept kept : all_kept(shape.head_width)) {
      Inputs in({shape, {210}, 2});
      round_to(kept.dtype, in.k);
      round_to(kept.dtype, in.v);
      CpuStream stream(2);
      in.forward(stream);
      for (const bool ring : {false, true}) {
        for (const int64_t chunk : {1, 3, 64, 100}) {
          Tensor out(in.q_shape()), lse(Shape{in.rows, shape.head_count});
          in_chunks(in, kept, ring, 0, chunk, out, lse, stream);
          const std::string what =
              fmt::format("W{} {} chunk {} ring {}", shape.window_tokens, kept.text(), chunk, ring);
          expect_same_bits(in.out.values(), out.values(), what);
          expect_same_bits(in.lse.values(), lse.values(), what);
        }
      }
    }
  }
}

std::vector<float> rows_from(const Tensor& t, int64_t first) {
  const TensorView rows = t.view.rows(first, t.view.dim(0) - first);
  return {rows.f32(), rows.f32() + rows.elements()};
}

// Rows whose keys lie in several partitions, decoded one by one and in chunks: however many
// threads share the partitions of a row, its bits are those of the training forward, which sees
// the sequence whole and never shares any.
TEST(Attention, PartitionsSharedAmongThreadsKeepTheBitsOfTraining) {
  const Isa before = isa();
  for (const AttentionShape& shape :
       std::vector<AttentionShape>{{8, 1, 32, 0}, {4, 2, 24, 0}, {4, 2, 16, 90}, {8, 1, 16, 700}}) {
    for (const Kept kept :
         {Kept{DType::kF32, KvLayout::kHeads}, Kept{DType::kF16, KvLayout::kHeads},
          Kept{DType::kBF16, KvLayout::kRows}, Kept{DType::kQ8_0, KvLayout::kHeads}}) {
      if (kept.dtype == DType::kQ8_0 && shape.head_width % 32 != 0) continue;
      Inputs in({shape, {1610}, 2});
      round_to(kept.dtype, in.k);
      round_to(kept.dtype, in.v);
      CpuStream one(1);
      in.forward(one);
      for (const Isa now : isas()) {
        set_isa(now);
        for (const int threads : now == before ? std::vector{2, 5} : std::vector{3}) {
          CpuStream stream(threads);
          for (const auto& [first, chunk] :
               std::vector<std::pair<int64_t, int64_t>>{{1608, 1}, {1607, 3}, {1530, 40}}) {
            Tensor out(in.q_shape()), lse(Shape{in.rows, shape.head_count});
            in_chunks(in, kept, true, first, chunk, out, lse, stream);
            const std::string what =
                fmt::format("W{} {} from {} by {}, {} threads, {}", shape.window_tokens,
                            kept.text(), first, chunk, threads, isa_name(now));
            expect_same_bits(rows_from(in.out, first), rows_from(out, first), what);
            expect_same_bits(rows_from(in.lse, first), rows_from(lse, first), what);
          }
        }
      }
      set_isa(before);
    }
  }
}

// A sequence of 600 beside many short ones: one long row among others is shared out too.
TEST(Attention, LongAndShortSequencesTogetherKeepTheirBits) {
  Inputs in({{4, 2, 16, 0}, {600, 1, 40, 700, 3}});
  CpuStream one(1), many(6);
  in.forward(one);
  std::vector<AttentionSegment> newest;
  for (const AttentionSegment& s : in.segments)
    newest.push_back({s.first_row + s.row_count - 1, 1, s.row_count - 1, s.kv});
  Tensor out(in.q_shape());
  attention(in.c.shape, newest, in.q.view, {}, out.view, {}, many);
  for (const AttentionSegment& s : newest) {
    const auto row = [&](const Tensor& t) {
      const float* from = t.view.slice(s.first_row).f32();
      return std::vector<float>(from, from + 4 * 16);
    };
    expect_same_bits(row(in.out), row(out), fmt::format("row {}", s.first_row));
  }
}

// Keys and values put into a cache by store_kv, in pieces and at places in no order, are those that
// attention reads there.
TEST(Attention, ReadsWhatStoreKvWrote) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16, DType::kQ8_0}) {
    Inputs in({{4, 2, 32, 40}, {210}, 2});
    std::vector<int32_t> table(9);
    std::iota(table.begin(), table.end(), 0);
    Rng rng(12);
    rng.shuffle(table);
    table.resize(4);  // of the 210 positions
    std::vector<int64_t> places;
    for (int64_t p = 0; p < in.rows; ++p)
      places.push_back(table[static_cast<size_t>(p / KvView::kTokens)] * KvView::kTokens +
                       p % KvView::kTokens);
    const Shape blocks{9, KvView::kTokens * in.key_width()};
    for (const int threads : {1, 3}) {
      CpuStream stream(threads);
      Tensor keys(blocks, dtype), values(blocks, dtype), out(in.q_shape());
      const KvStore store{keys.view, values.view, row_bytes(dtype, blocks.back())};
      for (const auto& [first, count] :
           std::vector<std::pair<int64_t, int64_t>>{{100, 110}, {0, 1}, {1, 99}, {50, 0}}) {
        store_kv(store, list(places).rows(first, count), in.k.view.rows(first, count),
                 in.v.view.rows(first, count), stream);
      }
      const AttentionSegment segment{0,
                                     in.rows,
                                     0,
                                     {.keys = keys.view,
                                      .values = values.view,
                                      .block_stride_bytes = store.block_stride_bytes,
                                      .blocks = list(table),
                                      .layout = KvLayout::kHeads,
                                      .end = in.rows}};
      attention(in.c.shape, {&segment, 1}, in.q.view, {}, out.view, {}, stream);
      round_to(dtype, in.k);
      round_to(dtype, in.v);
      in.forward(stream);
      expect_same_bits(in.out.values(), out.values(), std::string(dtype_info(dtype).name));
    }
  }
}

TEST(Attention, RowsOfManySequencesTogetherOrAlone) {
  Inputs in({{4, 2, 16, 40}, {70, 1, 130, 64, 9}});
  CpuStream stream(2);
  in.forward(stream);
  Tensor out(in.q_shape());
  std::vector<AttentionSegment> last_rows;  // One decoded row of each sequence, in one call.
  for (const AttentionSegment& s : in.segments)
    last_rows.push_back({s.first_row + s.row_count - 1, 1, s.row_count - 1, s.kv});
  attention(in.c.shape, last_rows, in.q.view, {}, out.view, {}, stream);
  for (const AttentionSegment& s : last_rows) {
    const auto row = [&](const Tensor& t) {
      const float* from = t.view.slice(s.first_row).f32();
      return std::vector<float>(from, from + 4 * 16);
    };
    expect_same_bits(row(in.out), row(out), fmt::format("row {}", s.first_row));
  }
}

TEST(AttentionDeathTest, ChecksWhatTheCallerGives) {
  Inputs in({{4, 2, 16, 8}, {20}});
  CpuStream stream(1);
  in.segments[0].kv.end = 19;
  EXPECT_DEATH(in.forward(stream), "keys \\[0, 19\\)");
  in.segments[0].kv.end = 20;
  const std::vector<int32_t> table = {0};
  in.segments[0].kv.blocks = list(table).rows(0, 0);
  EXPECT_DEATH(in.forward(stream), "blocks of keys \\[0, 0\\)");
  in.segments[0].kv.blocks = list(table);
  in.forward(stream);
  in.c.shape.kv_head_count = 3;
  EXPECT_DEATH(in.forward(stream), "4 heads, 3 key heads");
}

}  // namespace
}  // namespace dure
