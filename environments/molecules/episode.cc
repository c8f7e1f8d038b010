// A call that cannot be read uses up a proposal, so that every conversation ends.
#include "molecules/episode.h"

namespace dure::molecules {
namespace {

using environments::call_message;
using environments::tool_message;
using environments::user_message;

// Spaced as the chat format writes JSON, so that texts teach a tokenizer what conversations need.
constexpr const char* kProposeTool =
    R"({"type": "function", "function": {"name": "propose", "description": "Measures a molecule.", )"
    R"("parameters": {"type": "object", "properties": {)"
    R"("smiles": {"type": "string", "description": "SMILES"}}, "required": ["smiles"]}}})";

Json arguments_of(const std::string& smiles) {
  Json out = Json::object();
  out["smiles"] = smiles;
  return out;
}

class MoleculesEpisode : public environments::ToolSession {
 public:
  MoleculesEpisode(const Chemistry& chemistry, const std::set<std::string>& known,
                   const Target& target, int64_t budget)
      : ToolSession(question(target, budget), propose_tool(), budget, "proposal"),
        known_(known),
        campaign_(chemistry, target) {}

  Json finish(const std::string&) override {
    const Summary s = summarise(campaign_, budget());
    Json out = Json::object();
    out["reward"] = s.reward;
    Json& parts = out["parts"];
    parts["met"] = s.met ? 1 : 0;
    parts["best"] = s.best;
    parts["needed"] = s.needed;
    parts["valid"] = s.valid;
    parts["distinct"] = s.distinct;
    if (!known_.empty()) parts["novel"] = novel();
    parts["diversity"] = s.diversity;
    out["text"] = fmt::format("best score {:.2f} in {} proposals", s.best, used());
    return out;
  }

 private:
  int64_t used() const override { return static_cast<int64_t>(campaign_.proposals().size()); }
  bool is_solved() const override { return campaign_.best() >= 1; }
  std::string run(const Json& call) override {
    const Json arguments = environments::call_arguments(call, "propose");
    const Json* smiles = arguments.find("smiles");
    const bool readable = smiles != nullptr && smiles->is_string();
    return report(campaign_.propose(readable ? smiles->as_string() : std::string()));
  }

  // Share of the different molecules.
  double novel() const {
    const std::vector<std::string> all = campaign_.distinct(false);
    double count = 0;
    for (const std::string& smiles : all) count += known_.contains(smiles) ? 0 : 1;
    return all.empty() ? 0 : count / static_cast<double>(all.size());
  }

  const std::set<std::string>& known_;
  Campaign campaign_;
};

}  // namespace

std::string question(const Target& t, int64_t proposals) {
  return fmt::format(
      "Find a molecule: weight {:.0f} to {:.0f}, logP {:.1f} to {:.1f}, QED at least {:.2f}, SA at "
      "most {:.1f}. {} proposals.",
      t.weight_min, t.weight_max, t.logp_min, t.logp_max, t.qed_min, t.sa_max, proposals);
}

std::string report(const Proposal& p) {
  if (!p.properties) return "no molecule";
  return fmt::format("weight {:.0f}, logP {:.1f}, QED {:.2f}, SA {:.1f}; score {:.2f}",
                     p.properties->weight, p.properties->logp, p.properties->qed, p.properties->sa,
                     p.score);
}

Json propose_tool() { return parse_json(kProposeTool, "propose"); }

Json item_of(const std::string& id, const Target& target, int64_t proposals) {
  Json item = Json::object();
  item["id"] = id;
  item["messages"].push_back(user_message(question(target, proposals)));
  item["tools"].push_back(propose_tool());
  item["proposals"] = proposals;
  item["target"] = to_json(target);
  return item;
}

std::unique_ptr<environments::Session> begin_episode(const Chemistry& chemistry,
                                                     const std::set<std::string>& known,
                                                     const Json& item) {
  const Json& fields = item.at("fields");
  return std::make_unique<MoleculesEpisode>(chemistry, known, read_target(fields.at("target")),
                                            environments::read_budget(fields, "proposals"));
}

Json conversation(const Campaign& campaign, int64_t budget) {
  Json out = Json::object();
  Json& messages = out["messages"];
  messages.push_back(user_message(question(campaign.target(), budget)));
  size_t number = 0;
  for (const Proposal& p : campaign.proposals()) {
    const std::string id = fmt::format("call_{}", number++);
    messages.push_back(call_message(id, "propose", arguments_of(p.text)));
    if (number < campaign.proposals().size()) messages.push_back(tool_message(id, report(p)));
  }
  out["tools"].push_back(propose_tool());
  return out;
}

std::string text_of(const Campaign& campaign, int64_t budget) {
  std::string text = fmt::format("{}\n{}\n", kProposeTool, question(campaign.target(), budget));
  for (const Proposal& p : campaign.proposals())
    text += fmt::format("{{\"name\": \"propose\", \"arguments\": {{\"smiles\": {}}}}}\n{}\n",
                        json_quote(p.text), report(p));
  return text;
}

}  // namespace dure::molecules
