// Row by row and head by head over the visible keys: no blocks, no running maximum. The backward
// computes each row's softmax again.
#include "kernels/ref/attention.h"

#include <algorithm>
#include <cmath>

namespace dure::ref {
namespace {

// The softmax of one (row, head) over the visible keys [first, position].
struct Weights {
  int64_t first = 0;
  Doubles p;
  double log_sum_exp = 0;
  double sink = 0;  // its share
};

const double* row(DoubleSpan x, int64_t index, int64_t head, int64_t heads, int64_t width) {
  return x.data() + (index * heads + head) * width;
}

double dot(const double* a, const double* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

Weights softmax(const AttentionShape& s, const double* q, DoubleSpan k, int64_t key_head,
                int64_t position, const double* sink) {
  Weights w;
  w.first = s.window_tokens > 0 ? std::max<int64_t>(0, position - s.window_tokens + 1) : 0;
  for (int64_t j = w.first; j <= position; ++j) {
    w.p.push_back(dot(q, row(k, j, key_head, s.kv_head_count, s.head_width), s.head_width) /
                  std::sqrt(static_cast<double>(s.head_width)));
  }
  double maximum = *std::max_element(w.p.begin(), w.p.end());
  if (sink != nullptr) maximum = std::max(maximum, *sink);
  double sum = sink != nullptr ? std::exp(*sink - maximum) : 0;
  for (double& p : w.p) sum += p = std::exp(p - maximum);
  for (double& p : w.p) p /= sum;
  w.log_sum_exp = maximum + std::log(sum);
  if (sink != nullptr) w.sink = std::exp(*sink - w.log_sum_exp);
  return w;
}

}  // namespace

AttentionResult attention(const AttentionShape& s, DoubleSpan q, DoubleSpan k, DoubleSpan v,
                          int64_t first_position, DoubleSpan sinks) {
  const int64_t heads = s.head_count, width = s.head_width,
                rows = static_cast<int64_t>(q.size()) / (heads * width);
  AttentionResult result{Doubles(q.size()), Doubles(static_cast<size_t>(rows * heads))};
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t g = h * s.kv_head_count / heads;
      const Weights w = softmax(s, row(q, i, h, heads, width), k, g, first_position + i,
                                sinks.empty() ? nullptr : &sinks[static_cast<size_t>(h)]);
      double* out = result.out.data() + (i * heads + h) * width;
      for (size_t j = 0; j < w.p.size(); ++j) {
        const double* value = row(v, w.first + static_cast<int64_t>(j), g, s.kv_head_count, width);
        for (int64_t c = 0; c < width; ++c) out[c] += w.p[j] * value[c];
      }
      result.log_sum_exp[static_cast<size_t>(i * heads + h)] = w.log_sum_exp;
    }
  }
  return result;
}

AttentionGradients attention_backward(const AttentionShape& s, DoubleSpan q, DoubleSpan k,
                                      DoubleSpan v, DoubleSpan dout, int64_t first_position,
                                      DoubleSpan sinks) {
  const int64_t heads = s.head_count, groups = s.kv_head_count, width = s.head_width;
  const int64_t rows = static_cast<int64_t>(q.size()) / (heads * width);
  const double scale = 1 / std::sqrt(static_cast<double>(width));
  AttentionGradients d{Doubles(q.size()), Doubles(k.size()), Doubles(v.size()),
                       Doubles(sinks.size())};
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t g = h * groups / heads;
      const double* query = row(q, i, h, heads, width);
      const double* upstream = row(dout, i, h, heads, width);
      const Weights w = softmax(s, query, k, g, first_position + i,
                                sinks.empty() ? nullptr : &sinks[static_cast<size_t>(h)]);
      Doubles dp(w.p.size());
      double mean = 0;  // sum_j p_j dp_j
      for (size_t j = 0; j < dp.size(); ++j) {
        dp[j] = dot(upstream, row(v, w.first + static_cast<int64_t>(j), g, groups, width), width);
        mean += w.p[j] * dp[j];
      }
      if (!sinks.empty()) d.dsinks[static_cast<size_t>(h)] -= w.sink * mean;
      for (size_t j = 0; j < dp.size(); ++j) {
        const int64_t key = ((w.first + static_cast<int64_t>(j)) * groups + g) * width;
        const double ds = w.p[j] * (dp[j] - mean) * scale;
        for (int64_t c = 0; c < width; ++c) {
          d.dq[static_cast<size_t>((i * heads + h) * width + c)] +=
              ds * k[static_cast<size_t>(key + c)];
          d.dk[static_cast<size_t>(key + c)] += ds * query[c];
          d.dv[static_cast<size_t>(key + c)] += w.p[j] * upstream[c];
        }
      }
    }
  }
  return d;
}

}  // namespace dure::ref
