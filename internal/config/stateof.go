package config

import (
	"os"
	"path/filepath"
)

// StateOf is the state folder that a file names, however wrong the rest of it is: a daemon that runs
// can be asked while its file is being edited. ok is false where the file cannot be read, or
// breaks off before that can be told.
func StateOf(path string) (folder string, ok bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", false
	}
	root, whole := parseTop(path, data)
	d := &decoder{name: path, dir: filepath.Dir(path)}
	set := d.stateFolder(&folder)
	if f := root.field("state"); f != nil {
		set(d, f.value)
		return folder, len(d.problems) == 0
	}
	if !whole {
		return "", false
	}
	for _, k := range (&Config{}).keys(d) {
		if k.name == "state" {
			set(d, defaultValue(&k))
		}
	}
	return folder, len(d.problems) == 0
}
