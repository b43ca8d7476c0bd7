#ifndef RUM_CONTROLLER_HYPERVISOR_XML_TREE_H_
#define RUM_CONTROLLER_HYPERVISOR_XML_TREE_H_

#include <pugixml.hpp>
#include <string>

namespace rum {

// Sets an attribute, in its place where it is there already.
inline void Set(pugi::xml_node node, const char* name, const std::string& value) {
  pugi::xml_attribute there = node.attribute(name);
  (there ? there : node.append_attribute(name)).set_value(value.c_str());
}

inline void SetOrRemove(pugi::xml_node node, const char* name, const std::string& value) {
  if (value.empty()) {
    node.remove_attribute(name);
  } else {
    Set(node, name, value);
  }
}

inline bool Is(pugi::xml_node node, const char* name, const std::string& value) {
  return node.attribute(name).value() == value;
}

inline pugi::xml_node Add(pugi::xml_node parent, const char* name) {
  return parent.append_child(name);
}

inline pugi::xml_node AddText(pugi::xml_node parent, const char* name, const std::string& text) {
  pugi::xml_node node = parent.append_child(name);
  node.text().set(text.c_str());
  return node;
}

// The first child of that name; made where there is none.
inline pugi::xml_node Child(pugi::xml_node parent, const char* name) {
  const pugi::xml_node there = parent.child(name);
  return there ? there : parent.append_child(name);
}

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_XML_TREE_H_
