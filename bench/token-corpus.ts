import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openApiDocument } from '../src/api/openapi.ts';
import { allSettings } from '../src/settings.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Texts of one kind: those that the estimate was fitted to, and those that its error is measured with. */
export type Kind = { readonly kind: string; readonly fitted: string; readonly measured: string };

/** Texts of our own, of the kinds that models are given. */
export function corpus(): readonly Kind[] {
  return [
    { kind: 'English', fitted: textsIn('docs', '.md'), measured: textsIn('docs/decisions', '.md') },
    { kind: 'code', fitted: textsIn('src/engine', '.ts'), measured: textsIn('src/stores/sqlite', '.ts') },
    { kind: 'JSON', ...json() },
    ...prose,
    { kind: 'emoji', fitted: emoji(1) + emoji(2), measured: emoji(7) },
    { kind: 'base64', fitted: base64(3) + base64(4), measured: base64(8) },
    { kind: 'numbers', fitted: numbers(5) + numbers(6), measured: numbers(9) },
  ];
}

function textsIn(folder: string, end: string): string {
  return (
    readdirSync(join(root, folder))
      // Not the page that tells the result.
      .filter((name) => name.endsWith(end) && name !== 'tokens.md')
      .sort()
      .map((name) => readFileSync(join(root, folder, name), 'utf8'))
      .join('\n')
  );
}

function json(): { fitted: string; measured: string } {
  const { paths, components } = openApiDocument() as { paths: object; components: object };
  const table = allSettings().map(([key, { kind: _, ...setting }]) => ({ key, ...setting }));
  return {
    fitted: JSON.stringify(paths) + JSON.stringify(components, undefined, 2),
    measured: JSON.stringify(table) + JSON.stringify(table, undefined, 2),
  };
}

/** The same numbers every time (Numerical Recipes' generator). */
function randoms(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function base64(seed: number): string {
  const next = randoms(seed);
  return Buffer.from(Array.from({ length: 6_000 }, () => Math.floor(next() * 256))).toString('base64');
}

function numbers(seed: number): string {
  const next = randoms(seed);
  const row = () => Array.from({ length: 6 }, () => (next() * 10 ** Math.ceil(next() * 6)).toFixed(2)).join(',');
  return Array.from({ length: 200 }, row).join('\n');
}

/** Emoji in chat messages, as people write them, and rows of them. */
function emoji(seed: number): string {
  const next = randoms(seed);
  const all = [...'😀😂🥲😍🤔👍🙏🎉🔥✅❌⚠️🚀🌍☕️🐱🍕📦💡🔒🧪🛠️👩‍💻🏳️‍🌈🇩🇪🇯🇵👋🏽'];
  const pick = () => all[Math.floor(next() * all.length)] ?? '';
  const words = ['deployed', 'thanks', 'see you', 'tests are green', 'why', 'done', 'coffee'];
  const line = () => `${pick()}${pick()} ${words[Math.floor(next() * words.length)] ?? ''} ${pick()}`;
  return Array.from({ length: 150 }, line).join('\n');
}

const prose: readonly Kind[] = [
  {
    kind: 'German',
    fitted:
      'Der Server nimmt jede Anfrage entgegen, prüft sie und fragt erst danach das Modell. Solange eine Antwort entsteht, ist die Unterhaltung gesperrt, damit niemand zur gleichen Zeit etwas anhängt. Bricht die Verbindung ab, bevor das Modell fertig ist, wird der Aufruf beendet und nichts gespeichert. Wer die Datenbank betreibt, sollte regelmäßig Sicherungen anlegen und gelegentlich ausprobieren, ob sie sich wieder einspielen lassen. Eine Sicherung, die niemand je zurückgespielt hat, ist höchstens eine Hoffnung. Gestern Abend haben wir die neue Fassung auf dem zweiten Rechner eingerichtet. Zunächst lief alles wie erwartet, doch gegen Mitternacht stieg der Speicherverbrauch ungewöhnlich schnell an. Nach längerer Suche stellte sich heraus, dass ein Zwischenspeicher keine Obergrenze hatte. Seitdem gilt bei uns die Regel, dass jede Warteschlange und jeder Puffer eine Grenze braucht, die im Quelltext steht und durch einen Versuch bestätigt wird. Außerdem schreiben wir nun auf, wie lange eine Wiederherstellung tatsächlich dauert.',
    measured:
      'Wer den Dienst zum ersten Mal startet, braucht weder einen Schlüssel noch eine Datenbank: Ein eingebautes Beispielmodell antwortet auf einfache Fragen. Später genügt eine Zeile in der Konfigurationsdatei, um einen Anbieter hinzuzufügen. Schreibfehler werden sofort gemeldet, und zwar mit dem Namen der Einstellung, der Datei und den erlaubten Werten. Unsere Kolleginnen in der Rechenzentrumsplanung haben daraus eine Schritt-für-Schritt-Anleitung gemacht.',
  },
  {
    kind: 'French',
    fitted:
      'Le serveur garde chaque conversation dans votre propre base de données. Quand une réponse est enregistrée, elle peut être lue plus tard, continuée ou supprimée par celui qui l’a créée, et par personne d’autre. Si le fournisseur ne répond pas à temps, le client reçoit une erreur claire et sait quand il peut réessayer. Avant de mettre à jour la production, nous avons essayé la nouvelle version pendant une semaine sur une machine séparée. Les mesures étaient bonnes, mais la première sauvegarde a échoué parce qu’il manquait un droit sur le dossier. Il a suffi d’une ligne dans la configuration pour que tout fonctionne de nouveau.',
    measured:
      'Chaque requête porte un numéro que l’on retrouve dans le journal, ce qui facilite beaucoup la recherche des pannes. Les mots de passe n’y apparaissent jamais. Si vous remarquez qu’une réponse est trop lente, regardez d’abord combien de connexions sont ouvertes vers le fournisseur, puis essayez d’augmenter la limite.',
  },
  {
    kind: 'Russian',
    fitted:
      'Сервер хранит каждую беседу в вашей собственной базе данных. Пока модель отвечает, беседа занята, и никто другой не может добавить в неё сообщение. Если соединение прервётся раньше времени, вызов будет отменён, и ничего не сохранится. Вчера мы перенесли старые записи на новую машину. Всё прошло спокойно, только проверка заняла гораздо больше времени, чем мы думали. Теперь у нас есть подробная инструкция, и в следующий раз хватит одного часа.',
    measured:
      'Каждый запрос получает номер, по которому его легко найти в журнале. Пароли и ключи туда никогда не попадают. Если ответы стали приходить медленнее, сначала посмотрите, сколько соединений открыто, а потом попробуйте увеличить предел в настройках.',
  },
  {
    kind: 'Chinese',
    fitted:
      '服务器收到请求以后，先检查内容，再去询问模型。在回答还没有完成的时候，这个会话会被锁定，别人不能同时往里面添加消息。如果连接提前断开，调用就会取消，什么也不会保存。每一条记录都属于创建它的用户，其他人看不到，也不能删除。 昨天晚上我们把新版本装到了第二台机器上。开始一切正常，可是到了半夜，内存的使用量突然增加得很快。找了很久才发现，有一个缓存没有设置上限。从那以后，我们规定每个队列和缓冲区都必须有明确的限制，并且要用测试来证明。',
    measured:
      '第一次启动的时候，不需要密钥，也不需要数据库，因为里面有一个用来演示的模型。以后只要在配置文件里加一行，就可以连接别的供应商。如果写错了名字，程序会马上停止，并且告诉你是哪个设置、在哪个文件、允许填写什么。每个请求都有一个编号，方便在日志中查找。',
  },
  {
    kind: 'Japanese',
    fitted:
      'サーバーはリクエストを受け取ると、まず内容を確認してからモデルに問い合わせます。回答が終わるまで会話はロックされ、ほかの人が同時にメッセージを追加することはできません。接続が途中で切れた場合、呼び出しは中止され、何も保存されません。 昨日の夜、新しいバージョンを二台目のマシンに入れました。最初は問題なく動いていましたが、真夜中ごろからメモリの使用量が急に増え始めました。長い時間をかけて調べたところ、上限のないキャッシュが原因だとわかりました。それ以来、すべてのキューに制限を付けています。',
    measured:
      '初めて起動するときは、鍵もデータベースも必要ありません。簡単な質問に答える見本のモデルが入っています。あとで設定ファイルに一行書き足せば、ほかの会社のモデルも使えるようになります。書き間違いがあるとすぐに止まり、どの設定が悪いのかを教えてくれます。',
  },
  {
    kind: 'Korean',
    fitted:
      '서버는 요청을 받으면 먼저 내용을 확인하고 나서 모델에게 물어봅니다. 답변이 끝날 때까지 대화는 잠겨 있어서 다른 사람이 동시에 메시지를 추가할 수 없습니다. 연결이 중간에 끊어지면 호출이 취소되고 아무것도 저장되지 않습니다. 어젯밤에 새 버전을 두 번째 컴퓨터에 설치했습니다. 처음에는 잘 작동했지만 자정 무렵부터 메모리 사용량이 갑자기 늘어났습니다. 오랫동안 찾아본 끝에 크기 제한이 없는 캐시가 원인이라는 것을 알게 되었습니다.',
    measured:
      '처음 시작할 때는 열쇠도 데이터베이스도 필요하지 않습니다. 간단한 질문에 답하는 연습용 모델이 들어 있기 때문입니다. 나중에 설정 파일에 한 줄만 추가하면 다른 회사의 모델도 사용할 수 있습니다. 이름을 잘못 쓰면 바로 멈추고 어디가 틀렸는지 알려 줍니다.',
  },
  {
    kind: 'Arabic',
    fitted:
      'يستقبل الخادم كل طلب ويتحقق من محتواه قبل أن يسأل النموذج. تبقى المحادثة مقفلة حتى تنتهي الإجابة، فلا يستطيع أحد أن يضيف رسالة أخرى في الوقت نفسه. إذا انقطع الاتصال قبل النهاية يلغى الاستدعاء ولا يحفظ شيء. ثبتنا النسخة الجديدة مساء أمس على الجهاز الثاني. سار كل شيء على ما يرام في البداية، ثم ازداد استهلاك الذاكرة بسرعة قرب منتصف الليل. وبعد بحث طويل اكتشفنا أن إحدى الذاكرات المؤقتة لم يكن لها حد أقصى.',
    measured:
      'لا تحتاج في المرة الأولى إلى مفتاح ولا إلى قاعدة بيانات، ففي الداخل نموذج صغير يجيب عن الأسئلة البسيطة. وفيما بعد يكفي سطر واحد في ملف الإعدادات لإضافة مزود آخر. إذا أخطأت في كتابة الاسم يتوقف البرنامج فورا ويخبرك بمكان الخطأ.',
  },
  {
    kind: 'Hindi',
    fitted:
      'सर्वर हर अनुरोध को लेता है, उसकी जाँच करता है और उसके बाद ही मॉडल से पूछता है। जब तक उत्तर पूरा नहीं होता, बातचीत बंद रहती है ताकि कोई और उसी समय संदेश न जोड़ सके। अगर कनेक्शन बीच में टूट जाए तो कुछ भी सहेजा नहीं जाता। कल रात हमने नया संस्करण दूसरी मशीन पर लगाया। शुरू में सब ठीक चल रहा था, लेकिन आधी रात के आसपास मेमोरी का उपयोग अचानक बढ़ने लगा। बहुत देर खोजने के बाद पता चला कि एक कैश की कोई सीमा नहीं थी।',
    measured:
      'पहली बार चलाने के लिए न चाबी चाहिए और न डेटाबेस, क्योंकि अंदर एक छोटा नमूना मॉडल है जो सरल सवालों के जवाब देता है। बाद में सेटिंग की फ़ाइल में एक पंक्ति जोड़कर दूसरी कंपनी का मॉडल भी इस्तेमाल किया जा सकता है। नाम ग़लत लिखने पर प्रोग्राम तुरंत रुक जाता है।',
  },
  {
    kind: 'Thai',
    fitted:
      'เซิร์ฟเวอร์จะตรวจสอบคำขอทุกครั้งก่อนที่จะถามโมเดล ระหว่างที่คำตอบยังไม่เสร็จ การสนทนาจะถูกล็อกไว้ เพื่อไม่ให้ผู้อื่นเพิ่มข้อความในเวลาเดียวกัน เมื่อคืนนี้เราติดตั้งรุ่นใหม่บนเครื่องที่สอง ตอนแรกทุกอย่างทำงานได้ดี แต่ประมาณเที่ยงคืนหน่วยความจำเพิ่มขึ้นอย่างรวดเร็ว',
    measured:
      'การเริ่มใช้งานครั้งแรกไม่ต้องมีกุญแจและไม่ต้องมีฐานข้อมูล เพราะมีโมเดลตัวอย่างที่ตอบคำถามง่าย ๆ ได้อยู่แล้ว ต่อมาเพียงเพิ่มหนึ่งบรรทัดในไฟล์ตั้งค่าก็ใช้โมเดลของบริษัทอื่นได้',
  },
];
