// environments/plant/episode.h: a plant as a conversation: what is said of it, the tool `run`, what
// it answers, and solved conversations to learn from.
//
// In conversations profit is in $/h, flows in kg/s, temperature in K. Not here: the protocol's loop
// (common/program.h), experiments and scores (search.h).
#pragma once

#include <memory>
#include <string>

#include "common/program.h"
#include "plant/search.h"

namespace dure::plant {

// One line of items.jsonl: id, messages, tools, experiments, and what the episode needs of the unit
// (hidden catalyst and optimum included; they are in no message).
Json item_of(const std::string& id, const Unit& unit, const Optimum& optimum, int64_t experiments);

// Throws Error where `item` is none of item_of()'s.
std::unique_ptr<environments::Session> begin_episode(const Json& item, uint64_t seed,
                                                     int64_t sample);

std::string question(const Unit& unit, int64_t experiments);
std::string report(const Unit& unit, const Experiment& experiment);
std::string settled_text(const Experiment* settled);
Json run_tool();  // its declaration
Json run_arguments(const Settings& settings);

// A conversation of a finished campaign: a record {"messages", "tools"}; and the same as lines of
// text, for pretraining.
Json conversation(const Campaign& campaign);
std::string text_of(const Campaign& campaign);

}  // namespace dure::plant
