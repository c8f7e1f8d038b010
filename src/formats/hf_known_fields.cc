// Two lists, and the check against them.
#include "formats/hf_known_fields.h"

#include <algorithm>
#include <array>

#include "base/options.h"

namespace dure {
namespace {

// Fields without a say in the forward pass: bookkeeping, training and generation settings, class
// maps.
constexpr std::array kHarmless = {
    "transformers_version",
    "_name_or_path",
    "use_cache",
    "tokenizer_class",
    "auto_map",
    "attention_dropout",
    "mtp_loss_scaling_factor",
    "quantization_config",
    "_attn_implementation",
    "_attn_implementation_autoset",
    "attn_implementation",
    "_commit_hash",
    "name_or_path",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "return_dict",
    "use_return_dict",
    "torchscript",
    "use_bfloat16",
    "pruned_heads",
    "is_decoder",
    "finetuning_task",
    "id2label",
    "label2id",
    "problem_type",
    "task_specific_params",
    "prefix",
    "chunk_size_feed_forward",
    "temperature",
    "top_k",
    "top_p",
    "max_length",
    "min_length",
    "do_sample",
    "early_stopping",
    "num_beams",
    "num_beam_groups",
    "diversity_penalty",
    "typical_p",
    "repetition_penalty",
    "length_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "num_return_sequences",
    "output_scores",
    "return_dict_in_generate",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "remove_invalid_values",
    "exponential_decay_length_penalty",
    "suppress_tokens",
    "begin_suppress_tokens",
    "sep_token_id",
    "decoder_start_token_id",
    "router_aux_loss_coef",
    "aux_loss_alpha",
    "seq_aux",
    "ep_size",
    "pretraining_tp",
    "license",
    "cache_implementation",
    "_experts_implementation",
    "experts_implementation",
    "attn_impl",
    "model_name",
    "base_model_name_or_path",
    "original_dtype",
    "architecture_version",
    "gradient_checkpointing",
    "use_flash_attn",
    "use_flash_attention_2",
    "hidden_dropout",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "embd_pdrop",
    "resid_pdrop",
    "attn_pdrop",
    "residual_dropout",
    "embedding_dropout",
    "mlp_dropout",
    "expert_dropout",
    "classifier_dropout",
    "router_jitter_noise",
    "initial_context_length",
    "router_z_loss_coef",
    "z_loss_coef",
    "num_labels",
    "model_max_length",
    "max_new_tokens",
    "language",
    "transformers.js_config",
    "tf_legacy_loss",
    "output_past",
    "trl_version",
    "peft_version",
    "torch_version",
    "training_args",
};

// Also what a fine-tuning tool notes about itself.
bool is_harmless(const std::string& name) {
  return name.starts_with("unsloth_") || name.starts_with("_unsloth_") ||
         name.starts_with("axolotl_") || name.starts_with("llamafactory_") ||
         std::find(kHarmless.begin(), kHarmless.end(), name) != kHarmless.end();
}

// Structural fields of other models, allowed only at the value that changes nothing.
struct Neutral {
  const char* name;
  std::vector<Json> values;
};
const std::vector<Neutral>& neutral_fields() {
  static const std::vector<Neutral> fields = {
      {"attention_bias", {false, nullptr}},
      {"mlp_bias", {false, nullptr}},
      {"is_encoder_decoder", {false}},
      {"add_cross_attention", {false}},
      {"cross_attention_hidden_size", {nullptr}},
      {"tie_encoder_decoder", {false}},
      {"logit_scale", {1, 1.0, nullptr}},
      {"embedding_scale", {1, 1.0, nullptr}},
      {"attn_logit_softcapping", {nullptr}},
      {"final_logit_softcapping", {nullptr}},
      {"partial_rotary_factor", {1, 1.0, nullptr}},
      {"use_qk_norm", {true}},
      {"moe_layer_freq", {1, nullptr}},
      {"use_sliding_window", {true, nullptr}},
      {"qkv_bias", {false, nullptr}},
      {"use_bias", {false, nullptr}},
      {"lm_head_bias", {false, nullptr}},
      {"rope_scaling_factor", {1, 1.0, nullptr}},
      {"residual_multiplier", {1, 1.0, nullptr}},
      {"embedding_multiplier", {1, 1.0, nullptr}},
      {"logits_scaling", {1, 1.0, nullptr}},
      {"router_logit_softcapping", {nullptr}},
      {"use_rmsnorm", {true}},
  };
  return fields;
}

}  // namespace

void refuse_unknown_fields(const JsonFields& f, const Json& json) {
  std::vector<std::string> names(f.known().begin(), f.known().end());
  for (const auto& [name, value] : json.as_object()) {
    if (value.is_null() || f.known().contains(name) || is_harmless(name)) continue;
    const auto is_it = [&field_name = name](const Neutral& field) {
      return field_name == field.name;
    };
    const auto neutral = std::find_if(neutral_fields().begin(), neutral_fields().end(), is_it);
    if (neutral == neutral_fields().end()) {
      const std::string near = nearest_name(name, names);
      fail(ErrorCode::kUnsupported,
           "{}: unknown field '{}'{}; it may change the model, so it is not ignored", f.where(),
           name, near.empty() ? "" : " (did you mean '" + near + "'?)");
    }
    if (std::find(neutral->values.begin(), neutral->values.end(), value) == neutral->values.end()) {
      fail(ErrorCode::kUnsupported, "{}: {} is {}; Dure's models do not have that", f.where(), name,
           value.dump());
    }
  }
}

}  // namespace dure
