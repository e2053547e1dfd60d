/** A text that is edited in its place. */

import { sheet } from "./sheet.js";

export const editorStyles = sheet(`
.editor {
  display: flex;
  flex-direction: column;
  gap: 0.5rem;
  min-width: 0;
}

.editor textarea {
  width: 100%;
  min-height: 2.5rem;
  max-height: min(14rem, 40dvh);
  padding: 0.5rem 0.75rem;
  border: 1px solid var(--line-strong);
  border-radius: 0.625rem;
  background: var(--surface);
  line-height: 1.5;
  resize: none;
  field-sizing: content;
}

.editor-commands {
  display: flex;
  justify-content: end;
  gap: 0.5rem;
}

.editor-commands button {
  min-height: 2rem;
}
`);
