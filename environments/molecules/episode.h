// environments/molecules/episode.h: a target as a conversation: the question, the tool `propose`,
// what it answers, and solved conversations to learn from.
//
// Not here: the protocol's loop (common/program.h), scores (search.h).
#pragma once

#include <memory>
#include <set>
#include <string>

#include "common/program.h"
#include "molecules/search.h"

namespace dure::molecules {

// One line of items.jsonl: id, messages, tools, proposals (the budget), target.
Json item_of(const std::string& id, const Target& target, int64_t proposals);

// `known`: canonical SMILES of molecules that are nothing new; empty: novelty is not told. Both
// must outlive the episode. Throws Error where `item` is none of item_of()'s.
std::unique_ptr<environments::Session> begin_episode(const Chemistry& chemistry,
                                                     const std::set<std::string>& known,
                                                     const Json& item);

std::string question(const Target& target, int64_t proposals);
std::string report(const Proposal& proposal);
Json propose_tool();

// Of a finished campaign: a record {"messages", "tools"}, and the same as lines of text.
Json conversation(const Campaign& campaign, int64_t budget);
std::string text_of(const Campaign& campaign, int64_t budget);

}  // namespace dure::molecules
