// The table. A field that hf_config.cc reads and that is missing here fails a test.
#include "formats/hf_field_help.h"

namespace dure {
namespace {

constexpr HfField kFields[] = {
    {"model_type", "\"exaone_moe\"", "family (exaone_moe | exaone4 | qwen3_moe | gpt_oss)"},
    {"architectures", "by model_type",
     "the same as a list of one class (ExaoneMoeForCausalLM | Exaone4ForCausalLM | "
     "Qwen3MoeForCausalLM | GptOssForCausalLM)"},
    {"vocab_size", "needed", "number of token ids (integer); a new model's is its tokenizer's"},
    {"hidden_size", "needed", "width of the residual stream (integer)"},
    {"intermediate_size", "needed", "width of dense feed-forwards (integer)"},
    {"num_hidden_layers", "needed", "decoder layers (integer, from 1 to 4096)"},
    {"num_attention_heads", "needed", "query heads (integer)"},
    {"num_key_value_heads", "num_attention_heads",
     "key and value heads, a divisor of the query heads (integer)"},
    {"head_dim", "hidden_size / num_attention_heads", "width of a head (integer)"},
    {"max_position_embeddings", "2048", "longest context in tokens (integer)"},
    {"rms_norm_eps", "1e-5", "added to the mean square in every norm (number)"},
    {"initializer_range", "0.02", "standard deviation of new weights (number)"},
    {"tie_word_embeddings", "false", "the head is the embedding (true | false)"},
    {"hidden_act", "\"silu\"", "activation of feed-forwards (silu)"},
    {"dtype", "\"float32\"", "type of the stored weights (text)"},
    {"torch_dtype", "\"float32\"", "older name of dtype (text)"},
    {"bos_token_id", "1", "token that begins a text (integer); a new model's is its tokenizer's"},
    {"eos_token_id", "53 where the vocabulary has it",
     "tokens that end an answer (integer or list of integers); a new model's is its tokenizer's"},
    {"pad_token_id", "0", "token that fills (integer); a new model's is its tokenizer's"},
    {"layer_types", "by the fields below",
     "of every layer (list of sliding_attention | full_attention)"},
    {"sliding_windows", "sliding_window in every sliding layer",
     "window of every layer in tokens, 0: global (list of integers)"},
    {"sliding_window", "null", "window of sliding layers in tokens (integer, at least 1)"},
    {"sliding_window_pattern", "4",
     "which layers slide: n, every n-th is global, or letters such as LLLG (integer or text)"},
    {"rope_parameters", "null", "rotary positions (object)"},
    {"rope_parameters.rope_type", "\"default\"",
     "kind of rotation (default | llama3; qwen3_moe, gpt_oss: yarn)"},
    {"rope_parameters.rope_theta", "needed where a layer rotates",
     "base of the angles (number); may stand at top level"},
    {"rope_parameters.partial_rotary_factor", "1", "share of a head that turns (1)"},
    {"rope_parameters.factor", "1",
     "llama3, yarn: how much the longest waves are stretched (number)"},
    {"rope_parameters.low_freq_factor", "1", "llama3: below it waves are stretched (number)"},
    {"rope_parameters.high_freq_factor", "4", "llama3: above it they are not (number)"},
    {"rope_parameters.original_max_position_embeddings", "needed with llama3",
     "llama3, yarn: context before stretching (integer)"},
    {"rope_parameters.beta_fast", "32", "yarn: turns above which waves are kept (number)"},
    {"rope_parameters.beta_slow", "1", "yarn: turns below which they are stretched (number)"},
    {"rope_parameters.truncate", "true", "yarn: between them count whole pairs (true | false)"},
    {"rope_parameters.attention_factor", "by factor", "yarn: factor on sine and cosine (number)"},
    {"rope_parameters.mscale", "0", "yarn: with mscale_all_dim, instead of it (number)"},
    {"rope_parameters.mscale_all_dim", "0", "yarn: with mscale, instead of it (number)"},
    {"rope_parameters.type", "\"default\"", "older name of rope_type (text)"},
    {"rope_scaling", "null", "older name of rope_parameters (object)"},
    {"rope_theta", "rope_parameters.rope_theta", "base of the angles (number)"},
    {"mlp_layer_types", "by the fields below", "of every layer (list of dense | sparse)"},
    {"is_moe_layer", "by first_k_dense_replace",
     "whether a layer has experts (list of true | false)"},
    {"first_k_dense_replace", "1", "dense layers before the first with experts (integer)"},
    {"first_last_k_dense_replace", "1", "older name of first_k_dense_replace (integer)"},
    {"attention_bias", "qwen3_moe false, gpt_oss true",
     "qwen3_moe, gpt_oss: attention's products have biases (true | false)"},
    {"use_sliding_window", "false", "qwen3_moe: every layer slides (true | false)"},
    {"max_window_layers", "null", "qwen3_moe: passed over where no layer slides (integer)"},
    {"decoder_sparse_step", "1", "qwen3_moe: every n-th layer has experts (integer)"},
    {"mlp_only_layers", "[]", "qwen3_moe: layers without experts (list of integers)"},
    {"num_local_experts", "num_experts", "qwen3_moe, gpt_oss: experts of a layer (integer)"},
    {"experts_per_token", "num_experts_per_tok", "gpt_oss: older name of it (integer)"},
    {"swiglu_limit", "7", "gpt_oss: clamp of SwiGLU (number)"},
    {"swiglu_alpha", "1.702", "gpt_oss: factor inside SwiGLU's sigmoid (number)"},
    {"num_experts", "needed with sparse layers", "experts of a layer (integer)"},
    {"num_experts_per_tok", "needed with sparse layers", "experts that a token visits (integer)"},
    {"moe_intermediate_size", "needed with sparse layers", "width of one expert (integer)"},
    {"num_shared_experts", "1", "experts that every token visits (integer)"},
    {"norm_topk_prob", "true", "weights of the chosen experts sum to 1 (true | false)"},
    {"routed_scaling_factor", "2.5", "factor on what the chosen experts give (number)"},
    {"n_group", "1", "groups of experts (integer)"},
    {"topk_group", "1", "groups that a token may choose from (integer)"},
    {"scoring_func", "\"sigmoid\"", "of the router (sigmoid)"},
    {"topk_method", "\"noaux_tc\"", "choice of experts, with a bias against the load (noaux_tc)"},
    {"swiglu_limits", "null", "clamp of each layer's SwiGLU, 0: none (list of numbers)"},
    {"num_nextn_predict_layers", "0", "layers that predict a token further, MTP (0 | 1)"},
    {"mtp_num_speculative_steps", "1", "tokens drafted by that one layer (integer)"},
    {"mtp_share_layers", "true", "the steps share the layer (true | false)"},
    {"mtp_layer_types", "[\"full_attention\"]",
     "of the MTP layer (list of sliding_attention | full_attention)"},
    {"mtp_sliding_windows", "[0]", "window of the MTP layer, 0: global (list of integers)"},
};

}  // namespace

std::span<const HfField> hf_fields() { return kFields; }

std::string describe_hf_fields(const std::string& prefix) {
  std::string out;
  for (const HfField& field : kFields) {
    out += "  " + prefix + field.name + " = " + field.default_value;
    out += std::string("   ") + field.help + "\n";
  }
  return out;
}

}  // namespace dure
