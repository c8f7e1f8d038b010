// A row is a vector, a weight is looked up by its Hugging Face name, attention looks back over the
// rows of its document: no batch, no cache. Forward and losses alone: gradients come from
// differences, in the tests.
#include "model/ref/ref_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/check.h"

namespace dure::ref {
namespace {

double dot(const double* a, const double* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// M x, with M stored [out, in] from `matrix` on.
Row apply(const double* matrix, int64_t out_width, const Row& x) {
  const auto in_width = static_cast<int64_t>(x.size());
  Row y(static_cast<size_t>(out_width));
  for (int64_t n = 0; n < out_width; ++n)
    y[static_cast<size_t>(n)] = dot(matrix + n * in_width, x.data(), in_width);
  return y;
}

Row norm(const Row& x, const Row& w, double epsilon) {
  double squares = 0;
  for (const double value : x) squares += value * value;
  const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + epsilon);
  Row y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * w[i];
  return y;
}

Row add(Row x, const Row& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  return x;
}

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

// YaRN: the pair, as a number, that turns `rounds` times within the original context.
double pair_of(const RopeFacts& rope, int64_t width, double rounds) {
  return static_cast<double>(width) *
         std::log(static_cast<double>(rope.original_context_tokens) / (2 * M_PI * rounds)) /
         (2 * std::log(rope.theta));
}

double yarn(const RopeFacts& rope, int64_t width, int64_t j, double plain) {
  const double first = pair_of(rope, width, rope.beta_fast),
               second = pair_of(rope, width, rope.beta_slow);
  const double low = std::max(0.0, rope.truncate ? std::floor(first) : first),
               high = std::min(static_cast<double>(width - 1),
                               rope.truncate ? std::ceil(second) : second);
  const double stretched =
      std::clamp((static_cast<double>(j) - low) / (high == low ? 0.001 : high - low), 0.0, 1.0);
  return plain * (1 - stretched + stretched / rope.factor);
}

// Radians a position that pair j of a head turns by. llama3: how often it turns round within the
// original context says where it lies between the two factors.
double turning(const RopeFacts& rope, int64_t width, int64_t j) {
  const double plain =
      std::pow(rope.theta, -2.0 * static_cast<double>(j) / static_cast<double>(width));
  if (rope.kind == RopeKind::kPlain) return plain;
  if (rope.kind == RopeKind::kYarn) return yarn(rope, width, j, plain);
  const double rounds = static_cast<double>(rope.original_context_tokens) * plain / (2 * M_PI);
  const double kept = std::clamp((rounds - rope.low_frequency_factor) /
                                     (rope.high_frequency_factor - rope.low_frequency_factor),
                                 0.0, 1.0);
  return plain * (kept + (1 - kept) / rope.factor);
}

// Turns pairs (j, j + H/2) of one head; YaRN makes them longer too.
void turn(double* head, int64_t width, const RopeFacts& rope, int64_t position) {
  for (int64_t j = 0; j < width / 2; ++j) {
    const double angle = static_cast<double>(position) * turning(rope, width, j);
    const double u = head[j], v = head[j + width / 2];
    const double longer = rope.kind == RopeKind::kYarn ? rope.attention_factor : 1;
    head[j] = longer * (u * std::cos(angle) - v * std::sin(angle));
    head[j + width / 2] = longer * (v * std::cos(angle) + u * std::sin(angle));
  }
}

class Runner {
 public:
  Runner(const ModelConfig& config, const WeightTable& weights, const RefInput& input)
      : c_(config), weights_(weights), input_(input) {
    for (const int64_t length : input.document_lengths) {
      for (int64_t p = 0; p < length; ++p) {
        positions_.push_back(p);
        remaining_.push_back(length - 1 - p);
      }
    }
    DURE_CHECK(positions_.size() == input.ids.size(), "{} rows", input.ids.size());
  }

  RefOutput run() {
    Rows x;
    for (const int32_t id : input_.ids) x.push_back(embed(id));
    out_.hidden.push_back(x);
    for (int64_t i = 0; i < c_.layer_count(); ++i) {
      x = layer(x, "model.layers." + std::to_string(i) + ".", c_.layers[static_cast<size_t>(i)], i);
      out_.hidden.push_back(x);
    }
    for (const Row& row : x)
      out_.final_hidden.push_back(norm(row, w("model.norm.weight"), c_.norm_epsilon));
    for (const Row& row : out_.final_hidden) out_.logits.push_back(head(row));
    main_loss();
    if (c_.mtp_layer_count > 0) mtp();
    out_.objective += out_.balance_loss;
    return std::move(out_);
  }

 private:
  const Row& w(const std::string& name) const {
    const auto found = weights_.find(name);
    DURE_CHECK(found != weights_.end(), "no weight {}", name);
    return found->second;
  }

  Row embed(int32_t id) const {
    const double* row = w("model.embed_tokens.weight").data() + id * c_.hidden_size;
    return Row(row, row + c_.hidden_size);
  }

  Row head(const Row& x) const {
    return apply(w(c_.tied_embeddings ? "model.embed_tokens.weight" : "lm_head.weight").data(),
                 c_.vocab_size, x);
  }

  // M h, plus the bias where `biased`; name: "q".
  Row project(const Row& h, const std::string& prefix, const char* name, int64_t out,
              bool biased) const {
    const std::string all = prefix + "self_attn." + name + "_proj.";
    Row y = apply(w(all + "weight").data(), out, h);
    return biased ? add(std::move(y), w(all + "bias")) : y;
  }

  // q or k of row t: projected, normed where the layer norms heads, turned.
  Row heads(const Row& h, const std::string& prefix, const char* name, int64_t count,
            const LayerFacts& facts, int64_t position) const {
    Row y = project(h, prefix, name, count * c_.head_width, facts.attention.biases);
    for (int64_t n = 0; n < count; ++n) {
      double* one = y.data() + n * c_.head_width;
      if (facts.attention.qk_norm) {
        const Row normed = norm(Row(one, one + c_.head_width),
                                w(prefix + "self_attn." + name + "_norm.weight"), c_.norm_epsilon);
        std::copy(normed.begin(), normed.end(), one);
      }
      if (facts.rotary()) turn(one, c_.head_width, facts.rope, position);
    }
    return y;
  }

  // Row t's attention over rows of its document. sinks: [Q] or null.
  Row attend(const Rows& q, const Rows& k, const Rows& v, size_t t, int64_t window,
             const Row* sinks) const {
    Row out(static_cast<size_t>(c_.head_count * c_.head_width));
    const int64_t position = positions_[t];
    const int64_t oldest = window > 0 ? std::max<int64_t>(0, position - window + 1) : 0;
    const size_t first = t - static_cast<size_t>(position - oldest);
    for (int64_t n = 0; n < c_.head_count; ++n) {
      const int64_t key_head = n * c_.kv_head_count / c_.head_count;
      const double* query = q[t].data() + n * c_.head_width;
      Row scores;
      for (size_t j = first; j <= t; ++j) {
        scores.push_back(dot(query, k[j].data() + key_head * c_.head_width, c_.head_width) /
                         std::sqrt(static_cast<double>(c_.head_width)));
      }
      const double largest = *std::max_element(scores.begin(), scores.end());
      double total = sinks == nullptr ? 0 : std::exp((*sinks)[static_cast<size_t>(n)] - largest);
      for (double& score : scores) total += score = std::exp(score - largest);
      for (size_t j = first; j <= t; ++j) {
        for (int64_t h = 0; h < c_.head_width; ++h) {
          out[static_cast<size_t>(n * c_.head_width + h)] +=
              scores[j - first] / total * v[j][static_cast<size_t>(key_head * c_.head_width + h)];
        }
      }
    }
    return out;
  }

  // With the norm of the layer's order, without the residual.
  Rows attention(const Rows& x, const std::string& prefix, const LayerFacts& facts) const {
    const bool post = facts.norm_order == NormOrder::kPost;
    Rows q, k, v, out;
    for (size_t t = 0; t < x.size(); ++t) {
      const Row h = post ? x[t] : norm(x[t], w(prefix + "input_layernorm.weight"), c_.norm_epsilon);
      q.push_back(heads(h, prefix, "q", c_.head_count, facts, positions_[t]));
      k.push_back(heads(h, prefix, "k", c_.kv_head_count, facts, positions_[t]));
      v.push_back(
          project(h, prefix, "v", c_.kv_head_count * c_.head_width, facts.attention.biases));
    }
    const Row* sinks = facts.attention.sinks ? &w(prefix + "self_attn.sinks") : nullptr;
    for (size_t t = 0; t < x.size(); ++t) {
      const Row y = project(attend(q, k, v, t, facts.window_tokens, sinks), prefix, "o",
                            c_.hidden_size, facts.attention.biases);
      out.push_back(post ? norm(y, w(prefix + "post_attention_layernorm.weight"), c_.norm_epsilon)
                         : y);
    }
    return out;
  }

  // Expert `e` of a stack, or e = 0 of a plain FFN. prefix: ".../mlp." or ".../mlp.experts."
  Row ffn(const Row& h, const std::string& prefix, int64_t width, int64_t e,
          const ActivationFacts& facts, bool biased = false) const {
    const int64_t size = width * c_.hidden_size;
    const double limit = facts.limit;
    const auto product = [&](const char* name, int64_t out, const Row& x) {
      Row y = apply(w(prefix + name + "_proj.weight").data() + e * size, out, x);
      for (int64_t n = 0; biased && n < out; ++n)
        y[static_cast<size_t>(n)] +=
            w(prefix + name + "_proj.bias")[static_cast<size_t>(e * out + n)];
      return y;
    };
    Row gate = product("gate", width, h);
    const Row up = product("up", width, h);
    for (size_t i = 0; i < gate.size(); ++i) {
      const double g = limit > 0 ? std::min(gate[i], limit) : gate[i];
      const double u = limit > 0 ? std::clamp(up[i], -limit, limit) : up[i];
      gate[i] = g * sigmoid(facts.alpha * g) * (u + facts.up_offset);
    }
    return product("down", c_.hidden_size, gate);
  }

  // Experts that may be chosen: those of the best groups.
  std::vector<bool> open_experts(const ExpertFacts& facts, const Row& biased) const {
    const auto per_group = static_cast<size_t>(facts.count / facts.group_count);
    std::vector<std::pair<double, size_t>> groups;  // (-score, group): sorted, ties to the lowest
    for (size_t g = 0; g < static_cast<size_t>(facts.group_count); ++g) {
      Row members(biased.begin() + static_cast<std::ptrdiff_t>(g * per_group),
                  biased.begin() + static_cast<std::ptrdiff_t>((g + 1) * per_group));
      std::sort(members.rbegin(), members.rend());
      groups.emplace_back(-(members[0] + (members.size() > 1 ? members[1] : 0)), g);
    }
    std::sort(groups.begin(), groups.end());
    std::vector<bool> open(biased.size(), false);
    for (size_t i = 0; i < static_cast<size_t>(facts.groups_kept); ++i) {
      std::fill_n(open.begin() + static_cast<std::ptrdiff_t>(groups[i].second * per_group),
                  per_group, true);
    }
    return open;
  }

  std::vector<int> choose(const ExpertFacts& facts, const Row& biased) const {
    const std::vector<bool> open = facts.group_count > 1 ? open_experts(facts, biased)
                                                         : std::vector<bool>(biased.size(), true);
    std::vector<std::pair<double, int>> order;
    for (size_t e = 0; e < biased.size(); ++e) {
      if (open[e]) order.emplace_back(-biased[e], static_cast<int>(e));
    }
    std::sort(order.begin(), order.end());
    std::vector<int> chosen;
    for (size_t i = 0; i < static_cast<size_t>(facts.per_token); ++i)
      chosen.push_back(order[i].second);
    std::sort(chosen.begin(), chosen.end());
    return chosen;
  }

  static Row probabilities(const ExpertFacts& facts, Row logits) {
    if (facts.score == RouterScore::kSigmoid) {
      for (double& value : logits) value = sigmoid(value);
      return logits;
    }
    double sum = 0;
    for (const double value : logits) sum += std::exp(value);
    for (double& value : logits) value = std::exp(value) / sum;
    return logits;
  }

  Row mixture(const Row& h, const std::string& prefix, const LayerFacts& facts,
              RefRouting& routing) const {
    const ExpertFacts& experts = facts.experts;
    Row p = apply(w(prefix + (experts.biases ? "router.weight" : "gate.weight")).data(),
                  experts.count, h);
    if (experts.biases) p = add(std::move(p), w(prefix + "router.bias"));
    p = probabilities(experts, std::move(p));
    const std::vector<int> chosen =
        choose(experts, experts.selection_bias ? add(p, w(prefix + "e_score_correction_bias")) : p);
    double sum = 0;
    for (const int e : chosen) sum += p[static_cast<size_t>(e)];
    Row y(h.size()), shares;
    for (const int e : chosen) {
      const double share =
          p[static_cast<size_t>(e)] / (experts.normalise ? sum + 1e-20 : 1.0) * experts.scale;
      Row one = ffn(h, prefix + "experts.", experts.width, e, facts.activation, experts.biases);
      for (double& value : one) value *= share;
      y = add(std::move(y), one);
      shares.push_back(share);
    }
    routing.probabilities.push_back(p);
    routing.weights.push_back(shares);
    routing.experts.push_back(chosen);
    if (experts.shared_count == 0) return y;
    return add(std::move(y),
               ffn(h, prefix + "shared_experts.", experts.shared_width(), 0, facts.activation));
  }

  Rows layer(const Rows& input, const std::string& prefix, const LayerFacts& facts, int64_t index) {
    const bool post = facts.norm_order == NormOrder::kPost;
    Rows x = attention(input, prefix, facts);
    RefRouting routing;
    for (size_t t = 0; t < x.size(); ++t) {
      Row& row = x[t];
      row = add(std::move(row), input[t]);
      const Row h =
          post ? row : norm(row, w(prefix + "post_attention_layernorm.weight"), c_.norm_epsilon);
      Row y = facts.sparse ? mixture(h, prefix + "mlp.", facts, routing)
                           : ffn(h, prefix + "mlp.", facts.dense_width, 0, facts.activation);
      if (post) y = norm(y, w(prefix + "post_feedforward_layernorm.weight"), c_.norm_epsilon);
      row = add(std::move(y), row);
    }
    if (facts.sparse) {
      balance(facts.experts, routing);
      out_.routing[index] = std::move(routing);
    }
    return x;
  }

  void balance(const ExpertFacts& facts, const RefRouting& routing) {
    size_t start = 0;
    for (const int64_t length : input_.document_lengths) {
      Row fraction(static_cast<size_t>(facts.count)), share(static_cast<size_t>(facts.count));
      for (size_t t = start; t < start + static_cast<size_t>(length); ++t) {
        double sum = 0;
        for (const double p : routing.probabilities[t]) sum += p;
        for (size_t e = 0; e < share.size(); ++e)
          share[e] += routing.probabilities[t][e] / sum / static_cast<double>(length);
        for (const int e : routing.experts[t]) {
          fraction[static_cast<size_t>(e)] +=
              static_cast<double>(facts.count) / static_cast<double>(facts.per_token * length);
        }
      }
      out_.balance_loss += input_.balance_coefficient *
                           dot(fraction.data(), share.data(), facts.count) /
                           static_cast<double>(input_.document_lengths.size());
      start += static_cast<size_t>(length);
    }
  }

  static double log_softmax(const Row& logits, int32_t target) {
    const double largest = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const double value : logits) sum += std::exp(value - largest);
    return logits[static_cast<size_t>(target)] - largest - std::log(sum);
  }

  void main_loss() {
    double weighted = 0;
    for (size_t t = 0; t < input_.ids.size(); ++t) {
      const int32_t target = input_.targets[t];
      out_.log_probability.push_back(target == -100 ? 0 : log_softmax(out_.logits[t], target));
      out_.valid += target != -100;
      out_.loss_sum -= out_.log_probability[t];
      if (!input_.row_coefficients.empty())
        weighted += input_.row_coefficients[t] * out_.log_probability[t];
    }
    out_.objective = input_.row_coefficients.empty()
                         ? out_.loss_sum / static_cast<double>(std::max<int64_t>(1, out_.valid))
                         : weighted;
  }

  // Rows without a next token run too, on some token: nothing looks at them.
  void mtp() {
    Rows u;
    for (size_t t = 0; t < input_.ids.size(); ++t) {
      Row joined = norm(embed(input_.ids[remaining_[t] > 0 ? t + 1 : t]),
                        w("mtp.pre_fc_norm_embedding.weight"), c_.norm_epsilon);
      const Row hidden =
          norm(out_.final_hidden[t], w("mtp.pre_fc_norm_hidden.weight"), c_.norm_epsilon);
      joined.insert(joined.end(), hidden.begin(), hidden.end());
      u.push_back(apply(w("mtp.fc.weight").data(), c_.hidden_size, joined));
    }
    u = layer(u, "mtp.layers.0.", c_.mtp_layer, -1);
    for (size_t t = 0; t < u.size(); ++t) {
      out_.mtp_logits.push_back(
          remaining_[t] > 0 ? head(norm(u[t], w("mtp.norm.weight"), c_.norm_epsilon)) : Row{});
      const int32_t target = remaining_[t] > 0 ? input_.targets[t + 1] : -100;
      if (target == -100) continue;
      ++out_.mtp_valid;
      out_.mtp_loss_sum -= log_softmax(out_.mtp_logits[t], target);
    }
    out_.objective += input_.mtp_coefficient * out_.mtp_loss_sum /
                      static_cast<double>(std::max<int64_t>(1, out_.mtp_valid));
  }

  const ModelConfig& c_;
  const WeightTable& weights_;
  const RefInput& input_;
  std::vector<int64_t> positions_, remaining_;  // [T] position; rows of the document after it
  RefOutput out_;
};

}  // namespace

RefOutput run_model(const ModelConfig& config, const WeightTable& weights, const RefInput& input) {
  return Runner(config, weights, input).run();
}

}  // namespace dure::ref
