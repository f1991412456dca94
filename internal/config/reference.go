package config

import "strings"

// Reference describes every key in Markdown, section by section: its default,
// what it is, and why one would change it.
func Reference() string {
	var b strings.Builder
	d := &decoder{}
	root := (&Config{}).keys(d)
	writeTable(&b, "## The top of the file", "Before the first section.", root)
	for i := range root {
		writeSection(&b, &root[i], root[i].name)
	}
	return b.String()
}

func writeSection(b *strings.Builder, k *key, path string) {
	if !k.isSection() {
		return
	}
	switch {
	case len(k.keys) > 0:
		writeTable(b, "## `["+path+"]`", k.doc, k.keys)
	case len(k.parts) > 0 && k.unset == "":
		for i, p := range k.parts {
			doc := p.doc
			if i == 0 && doc == "" {
				doc = k.doc
			}
			writeTable(b, "## `"+p.heading+"`", doc, p.keys)
		}
	default: // an inline table that its section's own row tells about
		writeTable(b, "### `"+k.parts[0].heading+"`", k.parts[0].doc, k.parts[0].keys)
	}
	for i := range k.keys {
		writeSection(b, &k.keys[i], path+"."+k.keys[i].name)
	}
	for _, p := range k.parts {
		for i := range p.keys {
			writeSection(b, &p.keys[i], path+"."+p.keys[i].name)
		}
	}
}

// isSection says whether the key has keys below it.
func (k *key) isSection() bool { return len(k.keys) > 0 || len(k.parts) > 0 }

func writeTable(b *strings.Builder, heading, doc string, keys []key) {
	b.WriteString("\n" + heading + "\n\n")
	if doc != "" {
		b.WriteString(doc + "\n\n")
	}
	b.WriteString("| key | default | what it is, and why one would change it |\n| --- | --- | --- |\n")
	for i := range keys {
		k := &keys[i]
		if k.hidden || k.isSection() && k.unset == "" {
			continue // a section of its own, below
		}
		b.WriteString("| `" + k.name + "` | " + k.defaultText() + " | " + strings.ReplaceAll(k.doc, "|", "\\|") + " |\n")
	}
}

func (k *key) defaultText() string {
	switch {
	case k.required:
		return "required"
	case k.unset != "":
		return k.unset
	}
	return "`" + k.def + "`"
}
