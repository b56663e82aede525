// What the templates of the repository are called in other languages; the server says it in English (`web/templates/words.json`).

import { type Language, language } from "./index.ts"

interface Words {
  title: string
  description: string
}

export const TEMPLATES: Partial<Record<Language, Record<string, Words>>> = {
  zh: {
    "text-to-image": { title: "文生图", description: "一段提示词、一个小模型、一张图片：七个节点走完全程。" },
    "image-to-image": { title: "图生图", description: "从一张图片开始，用文字改变它。" },
    inpaint: { title: "局部重绘", description: "只改变遮罩覆盖的部分。" },
    "two-prompts": { title: "两段提示词", description: "两种描述合成一张图片。" },
    "two-branches": { title: "两个分支", description: "一个模型，两张图片：只加载一次。" },
    "upscale-and-refine": { title: "放大并细化", description: "把小图放大，再次采样以增加细节。" },
  },
}

/** A template's words in the language people chose, where there are some. */
export const templateWords = ({ name, title, description }: Words & { name: string }): Words => TEMPLATES[language()]?.[name] ?? { title, description }
